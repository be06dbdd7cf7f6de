#!/bin/sh
# SPDX-License-Identifier: MIT
# Collects what a report about a shared interrupt line needs, into one archive without personal data.
#
#     sh collect.sh        as root, in the boot in which the line died if possible
#
# Needs only a POSIX shell, cat, grep, sed, od and tar. What lspci, dmesg or journalctl could add is left out where they
# are missing. ROOT is a directory that is read in place of /.
set -u
umask 077
PATH=$PATH:/sbin:/usr/sbin
LC_ALL=C
export PATH LC_ALL
root=${ROOT:-}
archive=shirq-report.tar.gz
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP
out=$work/shirq-report
mkdir "$out" || exit 1

say() { echo "collect: $*" >&2; }
[ "$(id -u)" = 0 ] || say "not as root: capabilities and INTx states will be missing"

host=$(cat "$root/proc/sys/kernel/hostname" 2>/dev/null)
host=${host%%.*} # its domain stays behind, harmless without the name
case $host in
*[!A-Za-z0-9_-]* | localhost | '' | ? | ??) host= ;;
esac

# Parameters of the kernel that bear on interrupts; all others may be anybody's business.
known='irqpoll|irqfixup|noirqdebug|irqaffinity|threadirqs|acpi|acpi_[a-z_]+|noapic|apic|nolapic|lapic|x2apic|nox2apic'
known="$known|pci|pci_[a-z_]+|pcie_[a-z_]+|pciehp[a-z_.]*|intremap|intel_iommu|amd_iommu|iommu|vfio[a-z_.-]*|nosmp"
known="$known|maxcpus|nr_cpus|isolcpus|nohz|nohz_full|preempt|idle|clocksource|tsc|hpet|nohpet|notsc|quiet|ro|rw"

# The known parameters of a command line, and how many others there are.
parameters() {
	left=0
	kept=
	set -f
	for word in $1; do
		if echo "$word" | grep -Eq "^($known)(=[A-Za-z0-9_,.:@-]*)?\$"; then
			kept="$kept $word"
		else
			left=$((left + 1))
		fi
	done
	set +f
	echo "${kept# } ($left other parameters left out)"
}

# What says who, where or which one: serial numbers, addresses of networks, UUIDs, names of host and users. The rule of
# IPv4 is there twice: of two addresses with one character between them, it finds the first one only.
hex='[0-9A-Fa-f]'
anonymous() {
	sed -E \
		-e "s/($hex{2}[:-]){5,}$hex{2}/xx:xx:xx:xx:xx:xx/g" \
		-e "s/(enx|wlx)$hex{12}/\1x/g" \
		-e "s/$hex{8}((-|[\\]x2d)$hex{4}){3}(-|[\\]x2d)$hex{12}/xxxxxxxx-uuid/g" \
		-e 's/([Ss]erial *[Nn](umber|o\.?)|S\/N|\[SN\][^:]*|SerialNumber|[Aa]sset [Tt]ag|[Pp]art [Nn]umber)( *[:=] *).*/\1\3x/' \
		-e 's/(^|[^0-9.])[0-9]{1,3}(\.[0-9]{1,3}){3}($|[^0-9])/\1x.x.x.x\3/g' \
		-e 's/(^|[^0-9.])[0-9]{1,3}(\.[0-9]{1,3}){3}($|[^0-9])/\1x.x.x.x\3/g' \
		-e "s/(^|[^0-9A-Fa-f:.])($hex{1,4}:){1,6}:($hex{1,4}:?){0,6}/\1x::x/g" \
		-e "s/(^|[^0-9A-Fa-f:.])($hex{1,4}:){7}$hex{1,4}/\1x::x/g" \
		-e 's,/(home|Users)/[^/ ]+,/\1/x,g' \
		-e 's/[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+/x@x/g' \
		${host:+-e "s/(^|[^A-Za-z0-9])$host(\$|[^A-Za-z0-9])/\\1host\\2/g"}
}

# A kernel log without audit records; the command line in it is shortened, and not repeated for init.
log() {
	sed -E -e '/[Uu]nknown (kernel )?command.line parameters|will be passed to (user|init)|audit(:|\()/d' \
		-e '/\] +with (arguments|environment):|\] {5}/d' \
		-e 's/(Linux version [^ ]+) \([^()]*@[^()]*\)/\1/' |
		while IFS= read -r line; do
			case $line in
			*'ommand line: '*) echo "${line%%ommand line: *}ommand line: $(parameters "${line#*ommand line: }")" ;;
			*) printf '%s\n' "$line" ;;
			esac
		done | anonymous
}

# lspci's format, for machines without lspci: configuration space and the kernel's number of the line from sysfs.
functions() {
	for device in "$root"/sys/bus/pci/devices/*; do
		[ -r "$device/config" ] || continue
		id() { sed 's/^0x//' "$device/$1"; }
		class=$(id class)
		echo "${device##*/} ${class%??}: $(id vendor):$(id device) (rev $(od -An -tx1 -j8 -N1 "$device/config" | tr -d ' '))"
		pin=$(od -An -tu1 -j61 -N1 "$device/config" | tr -d ' ')
		case $pin in
		[1-4]) [ -r "$device/irq" ] && echo "	Interrupt: pin $(echo "$pin" | tr 1234 ABCD) routed to IRQ $(cat "$device/irq")" ;;
		esac
		driver=$(readlink "$device/driver" 2>/dev/null) && echo "	Kernel driver in use: ${driver##*/}"
		od -Ax -tx1 -v -N256 "$device/config" | sed -nE 's/^0*([0-9a-f]{2})(( [0-9a-f]{2}){16})$/\1:\2/p'
		echo
	done
}

have() { command -v "$1" >/dev/null 2>&1; }

cat "$root/proc/version" 2>/dev/null | log >"$out/version.txt"
echo "Kernel command line: $(cat "$root/proc/cmdline" 2>/dev/null)" | log >"$out/cmdline.txt"
cat "$root/proc/interrupts" 2>/dev/null | anonymous >"$out/interrupts.txt"
if [ -z "$root" ]; then
	say "counting interrupts for ten seconds"
	sleep 10
	cat /proc/interrupts 2>/dev/null | anonymous >"$out/interrupts-10s-later.txt"
fi
(cd "$root/sys/kernel/irq" 2>/dev/null && grep . /dev/null */* 2>/dev/null | sed 's,^,sys/kernel/irq/,') |
	anonymous >"$out/irq.txt"
if have dmesg; then
	dmesg 2>/dev/null | log >"$out/dmesg.txt"
fi
if [ ! -s "$out/dmesg.txt" ] && have journalctl; then
	journalctl -k -b --no-hostname -o short-monotonic --no-pager 2>/dev/null | log >"$out/journal.txt"
fi
if have lspci; then
	lspci -vvnnxxx 2>/dev/null | anonymous >"$out/lspci.txt"
	lspci -tv 2>/dev/null | anonymous >"$out/lspci-tree.txt"
else
	functions >"$out/lspci.txt"
fi
cat "$root/proc/modules" 2>/dev/null | sed 's/ .*//' >"$out/modules.txt"

for file in "$out"/*; do
	if [ ! -s "$file" ]; then
		say "nothing in ${file##*/}: it could not be read"
		rm "$file"
	fi
done
# Who has collected it is in the archive's headers, too, where tar cannot leave it out.
owner='--owner=root:0 --group=root:0'
tar $owner -cf /dev/null -C "$work" shirq-report 2>/dev/null || owner=
tar -C "$work" $owner -czf "$archive" shirq-report || exit 1
say "wrote $archive; have a look at it before you send it:"
tar -tzf "$archive" >&2
