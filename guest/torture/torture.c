// SPDX-License-Identifier: MIT
/*
 * shirq-torture: kills owners, unbinds devices, unloads modules and takes processors
 * offline, again and again, while interrupts come.
 *
 * Each run of a deed is an attempt, numbered from 0. The devices raise interrupts by
 * their own timers, so nothing here waits for the host. The host judges the line from
 * the event log, in which marks separate the attempts. This program checks facts that
 * only the guest can see, and prints "FAIL attempt: what" for each violation. The last
 * line is "done", with figures and a digest of all choices, which depend on the seed
 * alone.
 */
#define _GNU_SOURCE
#include "torture.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../drivers/edu-set.h"

#define SELF		"/proc/self/exe"
/*
 * Exit statuses of an owner. VANISHED: its device is gone, which is allowed. WRONG: a
 * failure.
 */
#define VANISHED	0
#define WRONG		9

struct run {
	char *const *devices;
	size_t count;
	struct choices choices;
	uint64_t span_us;
};

/* Owners. Each owner is a child process. */

/* An owner's actions, from the bits of a random number. */
enum habit {
	HABIT_AUTO_UNMASK	= 0x01,
	HABIT_MASTER		= 0x02,
	HABIT_TWO_READERS	= 0x04,
	HABIT_KEEP		= 0x08,
	HABIT_RING		= 0x10,	/* unless another habit needs read() */
};

struct owner {
	const char *address;
	uint64_t habits;
	int fd;
	volatile void *bar;
	size_t length;
	struct shirq_events events;
};

/* The owner that this child process is. */
static struct owner self;
/* The owner's device may become gone; then the owner ends normally. */
static bool mortal;
/* An allocation may fail; then the owner ends normally. */
static bool poor;

static void __attribute__((noreturn)) wrong(const char *what)
{
	/*
	 * Errors of open(): no node, no device for the node, or a device that is being unbound
	 * or in quarantine.
	 */
	if (mortal && (errno == ENOENT || errno == ENXIO || errno == ENODEV || errno == EIO))
		_exit(VANISHED);
	if (poor && errno == ENOMEM)
		_exit(VANISHED);
	warn("owner of %s: %s", self.address, what);
	_exit(WRONG);
}

static void vanished(int number)
{
	(void)number;
	_exit(mortal ? VANISHED : WRONG);
}

static void own_map(void)
{
	self.bar = shirq_map(self.fd, 0, &self.length);
	if (!self.bar)
		wrong("mapping");
}

static bool has_ring(void)
{
	return (self.habits & (HABIT_RING | HABIT_AUTO_UNMASK | HABIT_TWO_READERS)) == HABIT_RING;
}

static void own_ring(void)
{
	if (has_ring() && shirq_ring_map(self.fd, &self.events))
		wrong("mapping the ring");
}

/* Unmap and close the device, as long as no other thread uses it. */
static void give_back(void)
{
	if (self.events.ring)
		shirq_ring_unmap(&self.events);
	munmap((void *)self.bar, self.length);
	close(self.fd);
}

static void own_arm(void)
{
	uint32_t flags = SHIRQ_ARM_SHARED;

	if (self.habits & HABIT_AUTO_UNMASK)
		flags |= SHIRQ_ARM_AUTO_UNMASK;
	if (has_ring())
		flags |= SHIRQ_ARM_RING;
	if (shirq_arm(self.fd, flags))
		wrong("arming");
}

/*
 * Become the owner. SIGALRM is blocked while something is opened or mapped, so that its
 * handler finds all that there is to be given back.
 */
static void own(const char *address, uint64_t habits)
{
	struct shirq_programs programs = EDU_SET;
	sigset_t alarm;

	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	self.address = address;
	self.habits = habits;
	sigprocmask(SIG_BLOCK, &alarm, NULL);
	self.fd = shirq_open(address);
	if (self.fd < 0)
		wrong("opening");
	own_map();
	sigprocmask(SIG_UNBLOCK, &alarm, NULL);
	if (shirq_load(self.fd, &programs))
		wrong("loading");
	if (habits & HABIT_MASTER && shirq_set_master(self.fd, 1))
		wrong("mastering the bus");
	own_arm();
	sigprocmask(SIG_BLOCK, &alarm, NULL);
	own_ring();
	sigprocmask(SIG_UNBLOCK, &alarm, NULL);
}

static void handle(const struct shirq_event *event)
{
	switch (event->type) {
	case SHIRQ_EVENT_IRQ:
		shirq_write32(self.bar, INT_ACK, event->r[0]);
		if (!(self.habits & HABIT_AUTO_UNMASK) && shirq_unmask(self.fd, event->seq) &&
		    errno != ENXIO)
			wrong("unmasking");
		break;
	case SHIRQ_EVENT_LINE_OFF:
	case SHIRQ_EVENT_LINE_ON:
		break;
	case SHIRQ_EVENT_RESUMED:
		munmap((void *)self.bar, self.length);
		own_map();
		own_arm();
		break;
	default:
		if (mortal)
			_exit(VANISHED);
		errno = EPROTO;
		wrong("reading an event of another type");
	}
}

static void __attribute__((noreturn)) serve_from_ring(void)
{
	struct shirq_event event;

	for (;;) {
		while (shirq_ring_next(&self.events, &event)) {
			shirq_write32(self.bar, INT_ACK, event.r[0]);
			if (shirq_ring_unmask(&self.events, event.seq) && errno != ENXIO)
				wrong("unmasking an event of the ring");
		}
		if (shirq_wait(&self.events, 0, UINT64_MAX) && errno != EINTR)
			wrong("waiting for the ring");
	}
}

static void *serve(void *unused)
{
	struct shirq_event event;

	(void)unused;
	if (has_ring())
		serve_from_ring();
	for (;;) {
		if (!shirq_next(self.fd, &event))
			handle(&event);
		else if (errno != EINTR)
			wrong("reading");
	}
	return NULL;
}

static void another_reader(pthread_t *thread)
{
	if (pthread_create(thread, NULL, serve, NULL)) {
		errno = EAGAIN;
		wrong("creating a thread");
	}
}

static void __attribute__((noreturn)) live(const char *address, uint64_t habits)
{
	pthread_t thread;

	own(address, habits);
	if (habits & HABIT_TWO_READERS)
		another_reader(&thread);
	serve(NULL);
	_exit(WRONG);
}

/* The number of the device's UIO face, if a deed has made one. */
static int face;

/* Live as a program that knows only /dev/uioN: map BAR 0, read, acknowledge, write 1. */
static void __attribute__((noreturn)) live_by_uio(const char *address, uint64_t habits)
{
	uint32_t count, one = 1;
	char node[32];

	self.address = address;
	self.habits = habits;
	snprintf(node, sizeof(node), "/dev/uio%d", face);
	self.fd = open(node, O_RDWR | O_CLOEXEC);
	if (self.fd < 0)
		wrong("opening its UIO face");
	self.bar = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, self.fd, 0);
	if (self.bar == MAP_FAILED)
		wrong("mapping by its UIO face");
	while (read(self.fd, &count, sizeof(count)) == sizeof(count)) {
		shirq_write32(self.bar, INT_ACK, ALL);
		if (write(self.fd, &one, sizeof(one)) != sizeof(one))
			break;
	}
	wrong("serving by its UIO face");
}

/* Parents */

static pid_t born(void)
{
	pid_t pid = fork();

	if (pid < 0)
		err(1, "forking");
	return pid;
}

/* Number of owners that exited, which is allowed, before a signal ended them. */
static unsigned int exited;

/* Wait for a child; `by` is the signal that should end it, 0 for none. */
static void reap(uint32_t n, pid_t pid, int by)
{
	int status;

	while (waitpid(pid, &status, 0) != pid)
		if (errno != EINTR)
			err(1, "waiting for a child");
	if (WIFSIGNALED(status) ? WTERMSIG(status) != by : WEXITSTATUS(status) != VANISHED)
		fail(n, "the owner ended with wait status %#x, which is not allowed", status);
	exited += WIFEXITED(status);
}

static bool exists(const char *format, const char *address)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), format, address);
	return access(path, F_OK) == 0;
}

#define BOUND	"/sys/bus/pci/drivers/shirq/%s"

static void put_into(const char *format, const char *address, const char *text)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), format, address);
	if (put(path, text))
		err(1, "writing %s to %s", text, path);
}

/*
 * After the end of an owner, check that the device is parked and that bus mastering is
 * off.
 */
static void gone(const struct run *run, uint32_t n)
{
	char path[PATH_MAX];
	uint16_t command;
	int fd;

	mark(MARK_GONE, n);
	snprintf(path, sizeof(path), "/sys/class/shirq/%s/state", run->devices[0]);
	if (strcmp(word_of(path), "parked"))
		fail(n, "the device has no owner and is %s, not parked", word_of(path));
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", run->devices[0]);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (pread(fd, &command, sizeof(command), 4) != sizeof(command))
		err(1, "%s", path);
	close(fd);
	if (command & 0x4)
		fail(n, "the device has no owner, and bus mastering is still on");
}

/* How owners end */

static void killed(struct run *run, uint32_t n, uint64_t habits,
		   void (*life)(const char *address, uint64_t habits))
{
	uint64_t after = below(&run->choices, run->span_us);
	pid_t pid;

	mark(MARK_OWN, n);
	pid = born();
	if (!pid) {
		if (poor && put("/proc/self/make-it-fail", "1"))
			wrong("asking for failures");
		life(run->devices[0], habits);
	}
	pass_time(after);
	mark(MARK_END, n);
	kill(pid, SIGKILL);
	reap(n, pid, SIGKILL);
	gone(run, n);
}

static void by_kill(struct run *run, uint32_t n)
{
	killed(run, n, draw(&run->choices), live);
}

/* Kill a program that owns the device by its UIO face; the programs of the face stay loaded. */
static void by_kill_uio(struct run *run, uint32_t n)
{
	struct shirq_programs programs = EDU_SET;

	if (!exists("/sys/bus/pci/devices/%s/uio", run->devices[0])) {
		int fd = shirq_open(run->devices[0]);

		if (fd < 0 || shirq_load(fd, &programs))
			err(1, "loading %s", run->devices[0]);
		face = shirq_add_uio(fd, "torture", "1", 0);
		if (face < 0)
			err(1, "adding a UIO face to %s", run->devices[0]);
		close(fd);
	}
	killed(run, n, draw(&run->choices), live_by_uio);
}

#define SCRIBBLERS	4

/* Write whatever it may to the memory of the ring and to the register that unmasks. */
static void *scribble(void *seed)
{
	struct choices choices = choices_of(*(uint64_t *)seed);
	struct shirq_consumer *consumer = self.events.consumer;
	const struct shirq_ring *ring = self.events.ring;

	for (;;) {
		uint64_t near = below(&choices, 600) - 300, any = draw(&choices);
		bool wild = below(&choices, 2);

		switch (below(&choices, 3)) {
		case 0:
			__atomic_store_n(&consumer->tail, wild ? any : ring->head + near, __ATOMIC_RELEASE);
			break;
		case 1:
			__atomic_store_n(&consumer->unmasked, wild ? any : ring->seq + near, __ATOMIC_RELEASE);
			break;
		case 2:
			shirq_write32(self.bar, wild ? INT_MASK_CLEAR : INT_ACK, any);
			break;
		}
	}
	return NULL;
}

/* Live as an owner that takes events from its ring while other threads write nonsense into it. */
static void __attribute__((noreturn)) live_scribbling(const char *address, uint64_t habits)
{
	static uint64_t seeds[SCRIBBLERS];
	struct choices choices = choices_of(habits);
	pthread_t thread;

	own(address, (habits & HABIT_MASTER) | HABIT_RING);
	for (size_t i = 0; i < SCRIBBLERS; i++) {
		seeds[i] = draw(&choices);
		if (pthread_create(&thread, NULL, scribble, &seeds[i]))
			wrong("creating a thread");
	}
	for (;;) {
		self.events.tail = below(&choices, 2) ? draw(&choices) : self.events.ring->head;
		shirq_unmask(self.fd, below(&choices, 2) ? draw(&choices) : self.events.ring->seq);
		if (shirq_wait(&self.events, 0, below(&choices, 1000000)) && errno != ETIMEDOUT)
			wrong("waiting for the ring");
	}
}

/* Kill a hostile owner of a ring. Its device may be put into quarantine before. */
static void by_scribbling(struct run *run, uint32_t n)
{
	mortal = true;
	killed(run, n, draw(&run->choices), live_scribbling);
}

/* Kill the owner of a device that may become gone at any time. */
static void suffer(struct run *run, uint32_t n)
{
	mortal = true;
	by_kill(run, n);
}

/*
 * Kill an owner whose allocations fail, if fault injection is configured. The owner
 * creates no thread, because an allocation of the C library for the thread would fail
 * instead of one of shirq.ko.
 */
static void refuse_memory(struct run *run, uint32_t n)
{
	poor = true;
	killed(run, n, draw(&run->choices) & ~HABIT_TWO_READERS, live);
}

/* Available memory, in KiB. */
static unsigned long available(void)
{
	static const char key[] = "MemAvailable:";
	char text[512];
	int fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
	ssize_t length = read(fd, text, sizeof(text) - 1);
	const char *found;

	close(fd);
	text[length < 0 ? 0 : length] = 0;
	found = strstr(text, key);
	if (!found)
		errx(1, "/proc/meminfo has no line %s", key);
	return strtoul(found + strlen(key), NULL, 10);
}

#define SHORT_KIB	20480
#define PIECE		(1 << 20)
#define PIECES		1024

/* Take nearly all memory, and give some of it back now and then. */
static void __attribute__((noreturn)) hog(struct choices choices)
{
	void *pieces[PIECES];
	size_t count = 0;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || put("/proc/self/oom_score_adj", "1000"))
		err(1, "becoming the first victim of the OOM killer");
	for (;;) {
		if (count < PIECES && available() > SHORT_KIB * 2 / 3) {
			pieces[count] = mmap(NULL, PIECE, PROT_READ | PROT_WRITE,
					     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
			if (pieces[count] != MAP_FAILED)
				count++;
			continue;
		}
		pass_time(below(&choices, 20000));
		munmap(pieces[--count], PIECE);
	}
}

/* Kill the owner while memory is short. */
static void starve(struct run *run, uint32_t n)
{
	static pid_t hogging;

	if (!hogging) {
		hogging = born();
		if (!hogging)
			hog(run->choices);
	}
	while (available() > SHORT_KIB) {
		if (waitpid(hogging, NULL, WNOHANG))
			errx(1, "the process that takes the memory has ended");
		pass_time(1000);
	}
	by_kill(run, n);
}

/*
 * At an alarm the owner gives the device back, continues to run without it, and reports
 * this to its parent.
 */
static int told;
static uint32_t attempt;

static void __attribute__((noreturn)) sit(void)
{
	if (write(told, "x", 1) != 1)
		_exit(WRONG);
	for (;;)
		pause();
}

static void close_and_sit(int number)
{
	(void)number;
	mark(MARK_END, attempt);
	give_back();
	sit();
}

static void become_another(int number)
{
	char descriptor[16];

	(void)number;
	mark(MARK_END, attempt);
	snprintf(descriptor, sizeof(descriptor), "%d", told);
	execl(SELF, "shirq-torture", "--sit", descriptor, NULL);
	_exit(WRONG);
}

static void by_alarm(struct run *run, uint32_t n, void (*deed)(int), uint64_t habits)
{
	uint64_t after = 1 + below(&run->choices, run->span_us);
	struct itimerval timer = { .it_value = { after / 1000000, after % 1000000 } };
	int ends[2];
	pid_t pid;
	char byte;

	if (pipe(ends))
		err(1, "creating a pipe");
	mark(MARK_OWN, n);
	pid = born();
	if (!pid) {
		close(ends[0]);
		told = ends[1];
		attempt = n;
		signal(SIGALRM, deed);
		setitimer(ITIMER_REAL, &timer, NULL);
		live(run->devices[0], habits);
	}
	close(ends[1]);
	if (read(ends[0], &byte, 1) != 1)
		fail(n, "the owner ended instead of giving the device back");
	close(ends[0]);
	gone(run, n);
	kill(pid, SIGKILL);
	reap(n, pid, SIGKILL);
}

/*
 * Start only one reader, because a blocked read() of a second reader would keep the
 * file open.
 */
static void by_close(struct run *run, uint32_t n)
{
	by_alarm(run, n, close_and_sit, draw(&run->choices) & ~HABIT_TWO_READERS);
}

static void by_exec(struct run *run, uint32_t n)
{
	by_alarm(run, n, become_another, draw(&run->choices));
}

static void end_thread(int number)
{
	(void)number;
	syscall(SYS_exit, VANISHED);
}

/* The owner ends thread by thread; the first thread, which opened the device, ends first or last. */
static void by_thread(struct run *run, uint32_t n)
{
	uint64_t habits = draw(&run->choices) & ~HABIT_RING, after[3];
	pthread_t reader[2], opener;
	pid_t pid;
	size_t i;

	for (i = 0; i < COUNT(after); i++)
		after[i] = below(&run->choices, run->span_us / COUNT(after));
	mark(MARK_OWN, n);
	pid = born();
	if (!pid) {
		signal(SIGUSR1, end_thread);
		own(run->devices[0], habits);
		opener = pthread_self();
		another_reader(&reader[0]);
		another_reader(&reader[1]);
		pass_time(after[0]);
		if (habits & HABIT_KEEP) {
			pthread_kill(reader[0], SIGUSR1);
			pass_time(after[1]);
			pthread_kill(reader[1], SIGUSR1);
			pass_time(after[2]);
			pthread_kill(opener, SIGUSR1);
		}
		/* End all threads of the process, or only this thread. */
		syscall(habits & HABIT_TWO_READERS ? SYS_exit_group : SYS_exit, VANISHED);
	}
	/* The thread that opened the device has ended, the readers have not: kill the process. */
	if (!(habits & (HABIT_KEEP | HABIT_TWO_READERS))) {
		pass_time(after[0] + after[1]);
		mark(MARK_END, n);
		kill(pid, SIGKILL);
	}
	reap(n, pid, SIGKILL);
	gone(run, n);
}

static void send_descriptor(int socket, int fd)
{
	char space[CMSG_SPACE(sizeof(fd))] = { 0 };
	struct iovec data = { .iov_base = "x", .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &data, .msg_iovlen = 1,
		.msg_control = space, .msg_controllen = sizeof(space),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	if (sendmsg(socket, &message, MSG_NOSIGNAL) != 1 && errno != EPIPE)
		wrong("passing the descriptor");
}

/* Return: the descriptor, or -1 if the sender ended before it sent one. */
static int receive_descriptor(int socket)
{
	char space[CMSG_SPACE(sizeof(int))], byte;
	struct iovec data = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &data, .msg_iovlen = 1,
		.msg_control = space, .msg_controllen = sizeof(space),
	};
	int fd;

	if (recvmsg(socket, &message, 0) != 1)
		return -1;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
	return fd;
}

/*
 * One owner passes the device to another, and this program kills both, sometimes while
 * only the socket holds the descriptor.
 */
static void by_passing(struct run *run, uint32_t n)
{
	uint64_t habits = draw(&run->choices);
	uint64_t first = below(&run->choices, run->span_us), second = below(&run->choices, run->span_us);
	pid_t giver, taker;
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
		err(1, "creating a socket pair");
	mark(MARK_OWN, n);
	giver = born();
	if (!giver) {
		close(ends[1]);
		own(run->devices[0], habits);
		send_descriptor(ends[0], self.fd);
		if (habits & HABIT_KEEP)
			serve(NULL);
		give_back();
		for (;;)
			pause();
	}
	taker = born();
	if (!taker) {
		close(ends[0]);
		self = (struct owner) { .address = run->devices[0], .habits = habits };
		self.fd = receive_descriptor(ends[1]);
		if (self.fd < 0)
			_exit(VANISHED);
		own_map();
		own_ring();
		serve(NULL);
	}
	close(ends[0]);
	close(ends[1]);
	pass_time(first);
	kill(giver, SIGKILL);
	reap(n, giver, SIGKILL);
	pass_time(second);
	mark(MARK_END, n);
	kill(taker, SIGKILL);
	reap(n, taker, SIGKILL);
	gone(run, n);
}

/* Deeds that end something other than an owner */

static void unbind(struct run *run, uint32_t n)
{
	uint64_t habits = draw(&run->choices), after = below(&run->choices, run->span_us);
	const char *device = run->devices[0];
	pid_t pid = 0;

	mark(MARK_OWN, n);
	if (habits & HABIT_KEEP) {
		pid = born();
		if (!pid) {
			mortal = true;
			live(device, habits);
		}
	}
	pass_time(after);
	mark(MARK_END, n);
	put_into("/sys/bus/pci/drivers/shirq/%s", "unbind", device);
	mark(MARK_GONE, n);
	if (exists(BOUND, device) || exists("/dev/shirq/%s", device))
		fail(n, "%s was unbound, and its driver link or node still exists", device);
	if (pid)
		reap(n, pid, 0);
	put_into("/sys/bus/pci/drivers/shirq/%s", "bind", device);
	if (!exists(BOUND, device) || !exists("/dev/shirq/%s", device))
		fail(n, "%s was bound, and its driver link or node is missing", device);
}

static void remove_module(struct run *run, uint32_t n)
{
	static int module = -1;
	uint64_t habits = draw(&run->choices), after = below(&run->choices, run->span_us);
	struct utsname kernel;
	char path[PATH_MAX];
	pid_t pid;
	size_t i;

	if (module < 0) {
		uname(&kernel);
		snprintf(path, sizeof(path), "/lib/modules/%s/extra/shirq.ko", kernel.release);
		module = open(path, O_RDONLY | O_CLOEXEC);
		if (module < 0)
			err(1, "%s", path);
	}
	mark(MARK_OWN, n);
	pid = born();
	if (!pid) {
		mortal = true;
		live(run->devices[0], habits);
	}
	pass_time(after);
	mark(MARK_END, n);
	/*
	 * The kernel refuses to unload the module if the owner has opened the device
	 * already.
	 */
	syscall(SYS_delete_module, "shirq", O_NONBLOCK);
	kill(pid, SIGKILL);
	reap(n, pid, SIGKILL);
	if (exists("/sys/module/%s", "shirq") && syscall(SYS_delete_module, "shirq", O_NONBLOCK))
		fail(n, "shirq.ko cannot be unloaded, although no device has an owner: %m");
	mark(MARK_GONE, n);
	if (syscall(SYS_finit_module, module, "", 0))
		err(1, "loading the module");
	for (i = 0; i < run->count; i++)
		if (!exists(BOUND, run->devices[i]))
			fail(n, "%s is not bound again", run->devices[i]);
}

/* The host plugs the device in, and pulls it out when this program has printed "armed". */
static void be_unplugged(struct run *run, uint32_t n)
{
	uint64_t habits = draw(&run->choices);
	const char *device = run->devices[0];
	pid_t pid;

	mark(MARK_OWN, n);
	/*
	 * Repeat this, because another process may be binding the device, whose node
	 * may not exist yet.
	 */
	while (shirq_bind(device) || !exists("/dev/shirq/%s", device))
		pass_time(1000);
	pid = born();
	if (!pid) {
		mortal = true;
		own(device, habits);
		printf("armed %u\n", n);
		fflush(stdout);
		serve(NULL);
	}
	reap(n, pid, 0);
	while (exists("/sys/bus/pci/devices/%s", device))
		pass_time(1000);
	mark(MARK_GONE, n);
	printf("gone %u\n", n);
	fflush(stdout);
}

#define CPU1	"/sys/devices/system/cpu/cpu1/online"

static void processor_off(struct run *run, uint32_t n)
{
	uint64_t away = below(&run->choices, run->span_us), back = below(&run->choices, run->span_us);

	if (put(CPU1, "0") || strcmp(word_of(CPU1), "0"))
		fail(n, "processor 1 did not go offline: %m");
	pass_time(away);
	if (put(CPU1, "1") || strcmp(word_of(CPU1), "1"))
		fail(n, "processor 1 did not come back online: %m");
	pass_time(back);
}

static void move_interrupt(struct run *run, uint32_t n)
{
	char path[PATH_MAX], mask[2] = { '1' + below(&run->choices, 3) };
	uint64_t after = below(&run->choices, run->span_us);

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/irq", run->devices[0]);
	put_into("/proc/irq/%s/smp_affinity", word_of(path), mask);
	pass_time(after);
	(void)n;
}

static const struct {
	const char *name;
	void (*run)(struct run *run, uint32_t n);
} deeds[] = {
	{ "kill", by_kill },
	{ "kill-uio", by_kill_uio },
	{ "scribble", by_scribbling },
	{ "suffer", suffer },
	{ "refuse-memory", refuse_memory },
	{ "starve", starve },
	{ "close", by_close },
	{ "exec", by_exec },
	{ "thread", by_thread },
	{ "pass", by_passing },
	{ "bind", unbind },
	{ "module", remove_module },
	{ "unplug", be_unplugged },
	{ "cpu", processor_off },
	{ "affinity", move_interrupt },
};

static int usage(const char *name)
{
	size_t i;

	fprintf(stderr, "usage: %s --clock ADDRESS [--seed N] [--count N] [--span US] DEED ADDRESS...\n"
			"       %s --serve ADDRESS\nDEED:", name, name);
	for (i = 0; i < COUNT(deeds); i++)
		fprintf(stderr, " %s", deeds[i].name);
	fprintf(stderr, "\n");
	return 2;
}

/*
 * Where to continue after SIGBUS. The kernel revokes the mapping before it queues the
 * notice, so the next read() returns the notice.
 */
static sigjmp_buf untold;

static void read_on(int number)
{
	(void)number;
	siglongjmp(untold, 1);
}

/* An owner that keeps the device, and reports when it is armed. */
static int serve_for_ever(const char *address)
{
	own(address, HABIT_AUTO_UNMASK);
	puts("ready");
	fflush(stdout);
	signal(SIGBUS, read_on);
	sigsetjmp(untold, 1);
	serve(NULL);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "clock", required_argument, NULL, 'c' },
		{ "seed", required_argument, NULL, 's' },
		{ "count", required_argument, NULL, 'n' },
		{ "span", required_argument, NULL, 't' },
		{ "serve", required_argument, NULL, 'o' },
		{ "sit", required_argument, NULL, 'i' },
		{ 0 },
	};
	unsigned long long seed = 0, count = 1;
	struct run run = { .span_us = 5000 };
	const char *clock = NULL;
	size_t deed;
	uint32_t n;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'c': clock = optarg; break;
		case 's': seed = strtoull(optarg, NULL, 0); break;
		case 'n': count = strtoull(optarg, NULL, 0); break;
		case 't': run.span_us = strtoull(optarg, NULL, 0); break;
		case 'o': return serve_for_ever(optarg);
		case 'i': told = atoi(optarg); sit();
		default: return usage(argv[0]);
		}
	}
	for (deed = 0; deed < COUNT(deeds); deed++)
		if (argc - optind > 1 && !strcmp(argv[optind], deeds[deed].name))
			break;
	if (!clock || !run.span_us || deed == COUNT(deeds))
		return usage(argv[0]);

	signal(SIGBUS, vanished);
	run.devices = argv + optind + 1;
	run.count = argc - optind - 1;
	run.choices = choices_of(seed);
	map_marks(clock);
	for (n = 0; n < count; n++) {
		deeds[deed].run(&run, n);
		if (n % 16 == 15) {
			printf("at %u\n", n + 1);
			fflush(stdout);
		}
	}
	printf("done attempts=%u failures=%u choices=%016llx exited=%u\n", n, failures,
	       (unsigned long long)run.choices.digest, exited);
	return 0;
}
