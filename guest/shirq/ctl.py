# SPDX-License-Identifier: MIT
"""shirqctl: look at shared interrupt lines, bind functions, try profiles, and watch events, from the command line."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from shirq import __version__, binding, lint, profile, selftest, simulate, top
from shirq.abi import REGS, BarFlag, EventType, InfoFlag, Mode, ProgramKind
from shirq.asm import RESERVED, assemble, disassemble
from shirq.device import Device
from shirq.errors import AssemblyError, ProgramRefused, ShirqError
from shirq.loop import STOP, disarm_at
from shirq.profile import Profile, ProfileError
from shirq.program import Program
from shirq.system import Function, System
from shirq.verify import spaces_of

DONE, FAILED, USAGE, FOUND = 0, 1, 2, 3

_EPILOGUE = """\
Steps for a new card: write a profile (or use one that fits: `shirqctl list` names it), then

  shirqctl check CARD.toml                      is the profile right by itself?
  shirqctl simulate CARD.toml --set STATUS=1    what do its programs do?
  shirqctl bind 0000:00:04.0                    take the function from its driver
  shirqctl list                                 which functions share its line? (known once a driver enabled it)
  shirqctl check CARD.toml --device 0000:00:04.0        does the kernel accept the profile for this device?
  shirqctl selftest 0000:00:04.0                does its interrupt arrive? (if the profile has [selftest])
  shirqctl exec 0000:00:04.0 'read r0, STATUS'  look at a register, serialised with the interrupt
  shirqctl watch 0000:00:04.0 --after 'write ACK, r0'   serve the device from the command line and see its events
  shirqctl uio 0000:00:04.0                     or let a UIO program serve it, as /dev/uioN
  shirqctl unbind 0000:00:04.0                  give the function back to the kernel's driver

PROFILE is a file, or the name of a profile that came with the tool.

Exit status:
  0  done
  1  the system refused: no such function, no permission, the device is gone or has an owner
  2  the command line or a file cannot be read
  3  a profile or program is wrong: refused, or lint found something
"""

_FILE_HELP = "a profile's file, or the name of one that came with the tool"
_DEVICE_HELP = "PCI address such as 0000:00:04.0 (shirqctl list shows them)"


class _Usage(Exception):
    """The command line cannot be carried out as written."""


def _say(text: str = "") -> None:
    print(text, flush=True)


def _load(name: str) -> Profile:
    path = Path(name)
    if path.suffix != ".toml" and not path.exists():
        path = profile.folder() / f"{name}.toml"
        if not path.exists():
            known = ", ".join(sorted(each.stem for each in profile.folder().glob("*.toml")))
            raise _Usage(f"there is no profile {name!r}: write the path of a .toml file, or one of {known}")
    return profile.load(path)


def _function(system: System, address: str) -> Function:
    try:
        return system.function(binding.check_address(address))
    except FileNotFoundError:
        raise _Usage(f"there is no PCI function {address}: shirqctl list shows them") from None


def _profile_if_any(system: System, options: argparse.Namespace) -> Profile | None:
    if options.profile:
        return _load(options.profile)
    return profile.find(_function(system, options.address).ids)


def _profile_for(system: System, options: argparse.Namespace) -> Profile:
    found = _profile_if_any(system, options)
    if found is None:
        function = _function(system, options.address)
        ids = f"{function.ids['vendor']:04x}:{function.ids['device']:04x}"
        raise _Usage(f"no profile fits {options.address} ({ids}): write one and name it with --profile")
    return found


# ------------------------------------------------------------------ machines


def _sharers(function: Function, functions: Iterable[Function]) -> list[Function]:
    """The known users of a function's line, if that line is known."""
    return [f for f in functions if f.irq == function.irq and f.address != function.address]


def _ranges(numbers: Sequence[int]) -> str:
    """Numbers in ascending order as text: 26-29, 31."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def _row(function: Function, sharers: Iterable[Function], card: Profile | None) -> Sequence[str]:
    if function.irq is not None:
        line = f"{function.irq} (INT{function.pin})"
        shares = ", ".join(f"{each.address} ({each.driver or 'no driver'})" for each in sharers) or "-"
    elif function.may_be_on_any_line:
        line, shares = f"not known (INT{function.pin})", "not known"
    else:
        line, shares = f"MSI {_ranges(function.messages)}" if function.msi else "no pin", "-"
    return (
        function.address,
        f"{function.ids['vendor']:04x}:{function.ids['device']:04x}",
        f"{function.ids['class_code']:06x}",
        "+".join(filter(None, (function.driver, function.uio))) or "-",
        line,
        card.name if card else "-",
        shares,
    )


def do_list(system: System, options: argparse.Namespace) -> int:
    functions = system.functions()
    shown = [each for each in functions if options.all or each.pin is not None or not each.is_bridge]
    profiles = profile.load_all()
    cards = [profile.best(profiles, each.ids) for each in shown]
    sharers = [_sharers(each, functions) for each in shown]
    off = system.lines_off(functions)
    if options.json:
        data = [
            each.as_data()
            | {
                "profile": card.name if card else None,
                "shares_with": [other.address for other in others] if each.irq is not None else None,
                "line_off": top.off_text(off[each.irq]) if each.irq in off else None,
            }
            for each, card, others in zip(shown, cards, sharers, strict=True)
        ]
        _say(json.dumps(data, indent=2))
        return DONE
    rows: list[Sequence[str]] = [("ADDRESS", "IDS", "CLASS", "DRIVER", "LINE", "PROFILE", "SHARES WITH")]
    rows += [_row(each, others, card) for each, card, others in zip(shown, cards, sharers, strict=True)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        _say("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    for each in shown:
        if each.may_be_on_any_line:
            _say(f"{each.address}: its line is not known ({each.unknown}): it may share any of those above")
    for irq, since in sorted(off.items()):
        _say(f"line {irq}: {top.off_text(since)}")
    if off:
        asserting = [f"{each.address} (line {each.irq or 'not known'})" for each in functions if each.asserts]
        _say(f"asserting now: {', '.join(asserting) or 'no function says so; those from before PCI 2.3 cannot say it'}")
    return DONE


def do_bind(system: System, options: argparse.Namespace) -> int:
    for address in options.address:
        binding.bind(address, sysfs=system.sysfs)
        _say(f"{address}: bound to shirq")
    return DONE


def do_unbind(system: System, options: argparse.Namespace) -> int:
    for address in options.address:
        binding.unbind(address, sysfs=system.sysfs)
        _say(f"{address}: given back to {binding.bound_driver(address, system.sysfs) or 'nobody: no driver wants it'}")
    return DONE


def do_uio(system: System, options: argparse.Namespace) -> int:
    _function(system, options.address)
    if options.off:
        if options.profile:
            raise _Usage("--off takes no profile")
        with Device.open(options.address) as device:
            device.remove_uio()
        _say(f"{options.address}: no longer a UIO device")
        return DONE
    card = _profile_for(system, options)
    with Device.open(options.address) as device:
        device.load_profile(card)
        number = device.add_uio(card.uio.name, card.uio.version, unmask_by_read=card.uio.unmask_by_read)
        info = device.info
    _say(f"{options.address}: /dev/uio{number} by {card.name}, name {card.uio.name}, version {card.uio.version}")
    maps = system.uio_maps(number)
    for bar, each in enumerate(info.bars):
        if each.flags & BarFlag.MEMORY and maps.get(bar) != f"bar{bar}":
            why = "UIO has maps 0 to 4 only" if bar not in maps else "it is smaller than a page that others share"
            _say(f"BAR {bar} has no map: {why}")
    if not info.flags & InfoFlag.DISINTX and not card.programs.program(ProgramKind.MASK):
        _say("writing 0 fails while the card is not masked: the profile has no mask program, the card no DisINTx")
    return DONE


def do_stats(system: System, options: argparse.Namespace) -> int:
    addresses = options.address or [f.address for f in system.functions() if f.driver == "shirq"]
    for address in addresses:
        stats = system.stats(binding.check_address(address))
        if not stats:
            raise ShirqError(0, f"{address} has no statistics: bind it to shirq first")
        _say(f"{address}: " + " ".join(f"{name}={value}" for name, value in stats.items()))
    return DONE


# ----------------------------------------------------------------------- top


def do_top(system: System, options: argparse.Namespace) -> int:
    old = top.look(system)
    if options.line is not None and options.line not in old.lines:
        raise _Usage(f"there is no line {options.line}: the lines are {', '.join(map(str, sorted(old.lines)))}")
    shown = 0
    while options.count is None or shown < options.count:
        started = time.monotonic()
        time.sleep(options.interval)
        new = top.look(system)
        changes = top.compare(old, new, time.monotonic() - started, options.line)
        _say(json.dumps(changes.as_data()) if options.json else changes.text())
        old = new
        shown += 1
    return DONE


# ------------------------------------------------------------------ profiles


def _findings(card: Profile) -> int:
    found = lint.lint(card)
    for each in found:
        _say(f"{card.path}:{each.line}: {each.rule}: {each.kind.name.lower()}: {each.text}")
    for rule in dict.fromkeys(each.rule for each in found):
        _say(f"  {rule}: {lint.explain(rule)}")
    return FOUND if found else DONE


def do_check(system: System, options: argparse.Namespace) -> int:
    card = _load(options.profile)
    refusal = card.refusal()
    if refusal:
        raise refusal
    status = _findings(card)
    if options.device:
        with Device.open(options.device) as device:
            info = device.info
            refusal = card.refusal(spaces_of(info))
            if refusal:
                raise refusal
            device.load_profile(card)
        _say(f"{options.device}: the kernel accepts {card.name}")
    elif not status:
        _say(f"{card.name}: right, as far as can be told without the device")
    return status


def do_lint(system: System, options: argparse.Namespace) -> int:
    if options.rules:
        for rule in lint.RULES:
            _say(f"{rule.id} ({', '.join(kind.name.lower() for kind in rule.kinds)}): {rule.why} {rule.remedy}")
        return DONE
    if not options.profile:
        raise _Usage("lint needs profiles, or --rules to show its rules")
    return max(_findings(_load(name)) for name in options.profile)


def _kinds(name: str, card: Profile) -> list[ProgramKind]:
    """The selected programs; `all` means every program that the card has."""
    kinds = (ProgramKind.IRQ, ProgramKind.UNMASK, ProgramKind.RELEASE, ProgramKind.MASK)
    if name == "all":
        return [kind for kind in kinds if card.programs.program(kind)]
    if not card.programs.program(ProgramKind[name.upper()]):
        raise _Usage(f"{card.name} has no {name} program")
    return [ProgramKind[name.upper()]]


def do_disassemble(system: System, options: argparse.Namespace) -> int:
    card = _load(options.profile)
    names = {} if options.addresses else card.places
    for kind in _kinds(options.program, card):
        program = card.programs.program(kind)
        _say(f"# {kind.name.lower()}: {len(program)} operations")
        for text in disassemble(program, names).splitlines():
            _say(text if text.endswith(":") else f"    {text}")
    return DONE


def _assignment(text: str) -> tuple[str, int]:
    name, equals, value = text.partition("=")
    try:
        number = int(value, 0)
    except ValueError:
        number = -1
    if not name or not equals or not 0 <= number < 1 << 64:
        raise argparse.ArgumentTypeError(f"{text!r}: write NAME=NUMBER, such as STATUS=0x4")
    return name, number


def do_simulate(system: System, options: argparse.Namespace) -> int:
    card = _load(options.profile)
    refusal = card.refusal()
    if refusal:
        raise refusal
    registers = card.card()
    by_name = {name.lower(): register for name, register in card.registers.items()}
    for name, value in options.set:
        if name.lower() not in by_name:
            raise _Usage(f"{card.name} has no register {name!r}: it has {', '.join(card.registers)}")
        place = by_name[name.lower()].place
        if value >> 8 * place.width:
            raise _Usage(f"{name}={value:#x}: the register has {8 * place.width} bits")
        registers[place] = value
    regs: tuple[int, ...] = (0,) * REGS
    for kind in _kinds(options.program, card):
        _say(f"{kind.name.lower()}:")
        steps = []
        for step in simulate.trace(card.programs.program(kind), registers, regs):
            steps.append(step)
            _say(f"  {step.describe(card.places)}")
        run = simulate.outcome(steps, regs)
        regs = simulate.kept(kind, run, regs)
        told = {simulate.Outcome.CLAIMED: "claimed", simulate.Outcome.GONE: "the device is gone"}
        declined = "declined" if kind is ProgramKind.IRQ else "done"
        captured = "".join(f" r{n}={value:#x}" for n, value in enumerate(run.captured or ()))
        _say(f"  => {told.get(run.outcome, declined)}{captured}")
    _say("registers:")
    for name, register in card.registers.items():
        if register.access != "write-only":
            _say(f"  {name} = {registers[register.place]:#x}")
    return DONE


# ------------------------------------------------------------------- devices


def do_exec(system: System, options: argparse.Namespace) -> int:
    program = _one_shot(options.text, _profile_if_any(system, options))
    regs = [0] * 8
    for name, value in options.reg:
        if name.lower() not in RESERVED or not name.lower().startswith("r") or not name[1:].isdigit():
            raise _Usage(f"{name!r} is no register: write r0=1 to r7=1")
        regs[int(name[1:])] = value
    with Device.open(options.address) as device:
        for number, value in enumerate(device.exec(program, regs)):
            _say(f"r{number} = {value:#x}")
    return DONE


def _one_shot(text: str, card: Profile | None) -> Program:
    """A one-shot program from the command line, where `;` may stand for a new line."""
    return assemble(text.replace(";", "\n"), card.places if card else {})


def _arm_messages(device: Device, count: int) -> str:
    """Arm messages without programs: each is an event, and nothing has to be unmasked. Returns what was armed."""
    got = device.set_messages(count)
    device.set_master(True)
    for source in range(1, got + 1):
        device.arm(source=source)
    numbers = _ranges([device.info_of(source).irq for source in range(1, got + 1)])
    return f"{got} of {device.info.messages} messages of {device.address}, interrupts {numbers}"


def do_watch(system: System, options: argparse.Namespace) -> int:
    card = _profile_if_any(system, options) if options.messages else _profile_for(system, options)
    after = _one_shot(options.after, card) if options.after else None
    auto = after is not None or options.unmask or bool(card and card.programs.mode is Mode.ACKNOWLEDGES)
    with Device.open(options.address) as device:
        if options.messages:
            armed = _arm_messages(device, options.messages)
        else:
            assert card is not None
            device.load_profile(card)
            device.arm(shared=not options.exclusive, auto_unmask=auto)
            armed = f"{options.address} by {card.name}, line {device.info.irq}"
        # Whoever sees that the device is armed may send a signal.
        stopped = disarm_at(STOP, device)
        _say(f"armed: {armed}")
        if not auto and not options.messages:
            _say("the device stays masked after an event: give --after TEXT, a program that serves it, or --unmask")
        seen = 0
        try:
            while options.count is None or seen < options.count:
                event = device.read(options.timeout)
                name = event.type.name if isinstance(event.type, EventType) else f"type {event.type}"
                regs = " ".join(f"r{n}={value:#x}" for n, value in enumerate(event.r))
                source = f"source={event.source} " if options.messages else ""
                _say(f"{name} {source}seq={event.seq} time={event.time_ns / 1e9:.9f} lost={event.lost} {regs}")
                if event.type == EventType.IRQ:
                    seen += 1
                    if after:
                        device.exec(after, event.r)
        except ShirqError:
            if not stopped.is_set():
                raise
    return DONE


def do_selftest(system: System, options: argparse.Namespace) -> int:
    _function(system, options.address)
    card = _profile_for(system, options)
    report = selftest.run(system, options.address, card, options.timeout)
    _say(f"{options.address}: {card.name}")
    _say(report.text())
    return DONE if report.works else FAILED


# -------------------------------------------------------------- command line


def _positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = kind(text)
        if not 0 < value <= _MOST:
            raise argparse.ArgumentTypeError(f"{text}: write a number above 0, of at most {_MOST}")
        return value

    return parse


#: The largest number of seconds, or of anything that is counted: the system's calls take it.
_MOST: Final = 1_000_000_000
_COUNT = _positive(int)
_SECONDS = _positive(float)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="shirqctl",
        description="Drive PCI functions on shared interrupt lines from user space, with the module shirq.ko.",
        epilog=_EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    def verb(name: str, do: Callable[[System, argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        added.set_defaults(do=do)
        return added

    def program(parser: argparse.ArgumentParser, default: str) -> None:
        parser.add_argument(
            "--program",
            choices=("irq", "unmask", "release", "mask", "all"),
            default=default,
            help=f"default: {default}",
        )

    def json_too(parser: argparse.ArgumentParser, text: str) -> None:
        parser.add_argument("--json", action="store_true", help=f"as JSON: {text}")

    add = verb("list", do_list, "show PCI functions: driver, line, fitting profile, and who shares the line")
    add.add_argument("--all", action="store_true", help="also bridges without an interrupt pin")
    json_too(add, "an array of functions; a line that is not known is null, and line_unknown says why")

    add = verb("bind", do_bind, "take functions from their drivers and bind them to shirq")
    add.add_argument("address", nargs="+", help=_DEVICE_HELP)
    add = verb("unbind", do_unbind, "give functions back to the kernel's own drivers")
    add.add_argument("address", nargs="+", help=_DEVICE_HELP)

    add = verb("check", do_check, "verify and lint a profile; with --device, let the kernel verify it for this device")
    add.add_argument("profile", help=_FILE_HELP)
    add.add_argument("--device", metavar="ADDRESS", help="bound function without an owner, which is not armed")
    add = verb("lint", do_lint, "show errors in profiles that the verifier accepts, with their reasons")
    add.add_argument("profile", nargs="*", help=_FILE_HELP)
    add.add_argument("--rules", action="store_true", help="show all rules instead")
    add = verb("disassemble", do_disassemble, "show a profile's programs as operations")
    add.add_argument("profile", help=_FILE_HELP)
    add.add_argument("--addresses", action="store_true", help="show addresses instead of names")
    program(add, "all")
    add = verb("simulate", do_simulate, "run a profile's programs step by step, on simulated registers")
    add.add_argument("profile", help=_FILE_HELP)
    add.add_argument(
        "--set", type=_assignment, action="append", default=[], metavar="NAME=VALUE", help="initial value of a register"
    )
    program(add, "irq")

    add = verb("exec", do_exec, "run a one-shot program on a bound device, serialised with its interrupt")
    add.add_argument("address", help=_DEVICE_HELP)
    add.add_argument("text", help="operations, ; between them: 'read32 r0, bar0+0x24; or r0, 1'")
    add.add_argument("--reg", type=_assignment, action="append", default=[], metavar="rN=VALUE", help="initial value")
    add.add_argument("--profile", help="profile with the register names (default: the one that fits, if any)")
    add = verb("watch", do_watch, "own a bound device, arm it, and show its events until Ctrl-C")
    add.add_argument("address", help=_DEVICE_HELP)
    add.add_argument("--profile", help="profile to load (default: the one that fits the device)")
    add.add_argument("--after", metavar="TEXT", help="one-shot program after each event; gets the event's r0 to r3")
    add.add_argument("--unmask", action="store_true", help="unmask after each event, without serving the device")
    add.add_argument("--exclusive", action="store_true", help="refuse to share the line")
    add.add_argument(
        "--messages",
        type=_COUNT,
        metavar="N",
        help="use up to N of its MSI or MSI-X instead of its line, without programs; switches bus mastering on",
    )
    add.add_argument("--count", type=_COUNT, help="end after this number of interrupts")
    add.add_argument("--timeout", type=_SECONDS, metavar="SECONDS", help="fail if no event comes within this time")
    add = verb("uio", do_uio, "make a bound device a UIO device, for programs that use /dev/uioN")
    add.add_argument("address", help=_DEVICE_HELP)
    add.add_argument("profile", nargs="?", help=f"{_FILE_HELP} (default: the one that fits the device)")
    add.add_argument("--off", action="store_true", help="take the UIO device away, which must not be open")
    add = verb("selftest", do_selftest, "let a bound card raise an interrupt, and say where it is lost")
    add.add_argument("address", help=_DEVICE_HELP)
    add.add_argument("--profile", help="profile with [selftest] (default: the one that fits the device)")
    add.add_argument(
        "--timeout", type=_SECONDS, default=2.0, metavar="SECONDS", help="time for the interrupt to come (default: 2)"
    )
    add = verb("stats", do_stats, "show the module's counters of bound functions")
    add.add_argument("address", nargs="*", help="functions to show (default: all that are bound)")
    add = verb("top", do_top, "show the rate of each line, and the functions that assert it")
    add.add_argument("--line", type=int, metavar="IRQ", help="show this line only, by its number in /proc/interrupts")
    add.add_argument("--interval", type=_SECONDS, default=1.0, metavar="SECONDS", help="between samples (default: 1)")
    add.add_argument("--count", type=_COUNT, help="end after this number of samples (default: at Ctrl-C)")
    json_too(add, "one object per sample, on one row: its lines, and the functions whose line is not known")
    return parser


def main(arguments: Sequence[str] | None = None, system: System | None = None) -> int:
    """The whole command; returns its exit status. argparse itself exits with status 2."""
    options = _parser().parse_args(arguments)
    do: Callable[[System, argparse.Namespace], int] = options.do
    try:
        return do(system or System(), options)
    except KeyboardInterrupt:
        return DONE
    except BrokenPipeError:
        # Whoever reads the output, such as head, has seen enough. The interpreter flushes what is left when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except (ProgramRefused, ProfileError, AssemblyError) as error:
        status, text = FOUND, str(error)
    except (ShirqError, TimeoutError) as error:
        status, text = FAILED, str(error)
    except (_Usage, ValueError) as error:
        status, text = USAGE, str(error)
    except OSError as error:
        status, text = USAGE, f"{error.filename}: {error.strerror}"
    print(f"shirqctl: {text}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
