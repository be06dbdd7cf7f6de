// SPDX-License-Identifier: MIT
/*
 * The guest's side of the agent channel: runs commands for the host over a
 * virtio-serial port. It is a small static program and not a script, because an
 * emulated guest would have to translate every page of an interpreter again in each
 * clone.
 *
 * A frame is a little-endian header (length of the payload, type, zero, id)
 * and its payload.  The host picks an id for each command; every frame about
 * the command carries it.  harness/shirq_bench/channels/agent.py is the other end.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define PORT_NAME	"org.shirq.agent"
#define MAX_COMMANDS	64
#define MAX_PAYLOAD	(1u << 20)
#define CHUNK		16384
#define HUNG_UP_MS	5000	/* not at once: system sleep also closes the port for a moment */

enum frame_type {
	/* host to guest */
	PING = 1,		/* payload is echoed */
	EXEC = 2,		/* argv, each string NUL-terminated */
	STDIN = 3,		/* data; an empty payload closes the command's input */
	SIGNAL = 4,		/* u32 signal number, to the command's process group */
	/* guest to host */
	HELLO = 64,		/* the agent has (re)started; id 0 */
	PONG = 65,
	STARTED = 66,		/* u32 pid */
	STDOUT = 67,
	STDERR = 68,
	EXIT = 69,		/* u32 status as waitpid() gives it; nothing follows for this id */
	ERROR = 70,		/* text; the request had no effect; nothing follows for this id */
};

struct frame {
	uint32_t length;
	uint16_t type;
	uint16_t zero;
	uint32_t id;
};

struct command {
	uint32_t id;
	pid_t pid;		/* 0: free slot */
	int in, out, err;	/* our ends of the pipes; -1: closed */
	int status;
	int exited;
	char *queue;		/* data not yet written to `in` */
	size_t queued;
	int close_in;		/* close `in` once the queue is empty */
};

static struct command commands[MAX_COMMANDS];
static int port;

static void die(const char *what)
{
	fprintf(stderr, "shirq-agent: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void write_all(const void *data, size_t length)
{
	const char *at = data;

	while (length) {
		ssize_t n = write(port, at, length);

		if (n < 0 && errno == EAGAIN) {
			struct pollfd wait = { .fd = port, .events = POLLOUT };

			poll(&wait, 1, -1);
		} else if (n < 0 && errno != EINTR) {
			die("write to the host");
		} else if (n > 0) {
			at += n;
			length -= n;
		}
	}
}

static void send_frame(uint16_t type, uint32_t id, const void *payload, uint32_t length)
{
	static char buffer[sizeof(struct frame) + CHUNK];
	struct frame head = { .length = length, .type = type, .id = id };

	/*
	 * Use a single write if the frame fits: every write costs a VM exit.
	 */
	if (length <= CHUNK) {
		memcpy(buffer, &head, sizeof(head));
		if (length)
			memcpy(buffer + sizeof(head), payload, length);
		write_all(buffer, sizeof(head) + length);
	} else {
		write_all(&head, sizeof(head));
		write_all(payload, length);
	}
}

static void send_error(uint32_t id, const char *text)
{
	send_frame(ERROR, id, text, strlen(text));
}

static struct command *find(uint32_t id)
{
	for (struct command *c = commands; c < commands + MAX_COMMANDS; c++)
		if (c->pid && c->id == id)
			return c;
	return NULL;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Report the exit only when the output is complete, so that EXIT is always the last frame. */
static void finish_if_done(struct command *c)
{
	uint32_t status = c->status;

	if (!c->exited || c->out >= 0 || c->err >= 0)
		return;
	close_fd(&c->in);
	free(c->queue);
	send_frame(EXIT, c->id, &status, sizeof(status));
	memset(c, 0, sizeof(*c));
}

static void start(uint32_t id, char *payload, uint32_t length)
{
	char *argv[256];
	int argc = 0, in[2], out[2], err[2];
	struct command *c = NULL;
	uint32_t pid32;
	pid_t pid;

	if (!length || payload[length - 1]) {
		send_error(id, "exec: argv must be NUL-terminated strings");
		return;
	}
	for (char *at = payload; at < payload + length; at += strlen(at) + 1) {
		if (argc == 255) {
			send_error(id, "exec: more than 255 arguments");
			return;
		}
		argv[argc++] = at;
	}
	argv[argc] = NULL;
	for (int i = 0; i < MAX_COMMANDS && !c; i++)
		if (!commands[i].pid)
			c = &commands[i];
	if (!c || find(id)) {
		send_error(id, c ? "exec: id is in use" : "exec: 64 commands are running already");
		return;
	}
	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
		die("pipe");

	pid = vfork();
	if (!pid) {
		sigset_t none;

		/*
		 * Use a new process group, so that a signal also reaches the children
		 * of a shell.
		 */
		setpgid(0, 0);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		dup2(in[0], 0);
		dup2(out[1], 1);
		dup2(err[1], 2);
		execvp(argv[0], argv);
		dprintf(2, "%s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	close(err[1]);
	if (pid < 0) {
		close(in[1]);
		close(out[0]);
		close(err[0]);
		send_error(id, strerror(errno));
		return;
	}
	fcntl(in[1], F_SETFL, O_NONBLOCK);
	*c = (struct command){ .id = id, .pid = pid, .in = in[1], .out = out[0], .err = err[0] };
	pid32 = pid;
	send_frame(STARTED, id, &pid32, sizeof(pid32));
}

static void feed(struct command *c)
{
	while (c->queued && c->in >= 0) {
		ssize_t n = write(c->in, c->queue, c->queued);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			/*
			 * The command has closed its standard input, which is
			 * allowed.
			 */
			c->queued = 0;
			close_fd(&c->in);
			return;
		}
		memmove(c->queue, c->queue + n, c->queued - n);
		c->queued -= n;
	}
	if (c->close_in)
		close_fd(&c->in);
}

static void queue_stdin(struct command *c, const char *data, uint32_t length)
{
	if (!length) {
		c->close_in = 1;
	} else {
		c->queue = realloc(c->queue, c->queued + length);
		if (!c->queue)
			die("queue");
		memcpy(c->queue + c->queued, data, length);
		c->queued += length;
	}
	feed(c);
}

static void handle(struct frame *f, char *payload)
{
	struct command *c = find(f->id);
	uint32_t signo;

	switch (f->type) {
	case PING:
		send_frame(PONG, f->id, payload, f->length);
		break;
	case EXEC:
		start(f->id, payload, f->length);
		break;
	case STDIN:
		/* The command may have ended meanwhile; then its EXIT has been sent. */
		if (c)
			queue_stdin(c, payload, f->length);
		break;
	case SIGNAL:
		if (c && f->length == sizeof(signo)) {
			memcpy(&signo, payload, sizeof(signo));
			kill(-c->pid, signo);
		}
		break;
	default:
		send_error(f->id, "unknown frame type");
	}
}

/* Read all available data from the port, and handle every complete frame. */
static void receive(void)
{
	static char buffer[sizeof(struct frame) + MAX_PAYLOAD];
	static size_t have;
	ssize_t n = read(port, buffer + have, sizeof(buffer) - have);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0)
		die("read from the host");
	have += n;
	for (;;) {
		struct frame f;
		size_t whole;

		if (have < sizeof(f))
			return;
		memcpy(&f, buffer, sizeof(f));
		if (f.length > MAX_PAYLOAD) {
			errno = EMSGSIZE;
			die("frame from the host");
		}
		whole = sizeof(f) + f.length;
		if (have < whole)
			return;
		handle(&f, buffer + sizeof(f));
		memmove(buffer, buffer + whole, have - whole);
		have -= whole;
	}
}

static void forward(struct command *c, int *fd, uint16_t type)
{
	static char data[CHUNK];
	ssize_t n = read(*fd, data, sizeof(data));

	if (n < 0 && errno == EINTR)
		return;
	if (n > 0)
		send_frame(type, c->id, data, n);
	else
		close_fd(fd);
	finish_if_done(c);
}

static void reap(int signals)
{
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

	while (read(signals, &info, sizeof(info)) == sizeof(info))
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (struct command *c = commands; c < commands + MAX_COMMANDS; c++) {
			if (c->pid == pid) {
				c->exited = 1;
				c->status = status;
				finish_if_done(c);
			}
		}
	}
}

/*
 * Let the kernel regard its random numbers as random. A guest has no source of
 * them, so the first program that asks, such as Python, would spin for a second
 * of the guest's time, in every clone. Its secrets protect nothing.
 */
static void seed_random(void)
{
	struct {
		struct rand_pool_info info;
		char seed[64];
	} pool = { .info = { .entropy_count = 512, .buf_size = 64 }, .seed = "shirq" };
	int random = open("/dev/urandom", O_WRONLY | O_CLOEXEC);

	if (random < 0 || ioctl(random, RNDADDENTROPY, &pool) < 0)
		die("seeding random numbers");
	close(random);
}

/* Find the port by its name in sysfs: without udev no link names it. */
static int open_port(void)
{
	DIR *class = opendir("/sys/class/virtio-ports");
	struct dirent *e;

	while (class && (e = readdir(class))) {
		char path[320], name[64] = "";
		FILE *f;

		snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name", e->d_name);
		f = fopen(path, "r");
		if (!f)
			continue;
		if (fgets(name, sizeof(name), f))
			name[strcspn(name, "\n")] = 0;
		fclose(f);
		if (!strcmp(name, PORT_NAME)) {
			snprintf(path, sizeof(path), "/dev/%s", e->d_name);
			closedir(class);
			return open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
		}
	}
	if (class)
		closedir(class);
	errno = ENODEV;
	return -1;
}

int main(void)
{
	int signals, hung_up_ms = 0;
	sigset_t child;

	port = open_port();
	if (port < 0)
		die(PORT_NAME);
	seed_random();
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	signals = signalfd(-1, &child, SFD_NONBLOCK | SFD_CLOEXEC);
	if (signals < 0)
		die("signalfd");
	send_frame(HELLO, 0, NULL, 0);

	for (;;) {
		struct pollfd fds[2 + 3 * MAX_COMMANDS] = {
			{ .fd = port, .events = POLLIN },
			{ .fd = signals, .events = POLLIN },
		};

		/* poll() ignores negative descriptors. */
		for (int i = 0; i < MAX_COMMANDS; i++) {
			struct command *c = &commands[i];
			struct pollfd *p = &fds[2 + 3 * i];

			p[0].fd = c->pid && c->queued ? c->in : -1;
			p[0].events = POLLOUT;
			p[1].fd = c->pid ? c->out : -1;
			p[1].events = POLLIN;
			p[2].fd = c->pid ? c->err : -1;
			p[2].events = POLLIN;
		}
		if (poll(fds, 2 + 3 * MAX_COMMANDS, -1) < 0 && errno != EINTR)
			die("poll");
		for (int i = 0; i < MAX_COMMANDS; i++) {
			struct command *c = &commands[i];
			struct pollfd *p = &fds[2 + 3 * i];

			if (p[0].revents)
				feed(c);
			if (p[1].revents)
				forward(c, &c->out, STDOUT);
			if (p[2].revents && c->pid)
				forward(c, &c->err, STDERR);
		}
		if (fds[1].revents)
			reap(signals);
		if (fds[0].revents & POLLHUP) {
			if (hung_up_ms++ == HUNG_UP_MS) {
				errno = EPIPE;
				die("the host has closed the connection");
			}
			usleep(1000);
			continue;
		}
		hung_up_ms = 0;
		if (fds[0].revents & POLLIN)
			receive();
	}
}
