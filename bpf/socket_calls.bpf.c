/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* The system calls that move something through sockets and pipes, and the one that closes them: their arguments, for
 * socket.bpf.c, after which this comes. */

/* include/linux/socket.h */
#define MSG_PEEK 0x2
#define MSG_TRUNC 0x20
/* Messages of one sendmmsg or recvmmsg. */
#define MESSAGES 64

/* read, write, sendto, recvfrom */
static __always_inline int plain(__u64 *ctx, __u64 write, int datagram)
{
	struct registers registers;
	if ((__s64)ctx[1] <= 0 || !arguments(ctx, &registers))
		return 0;
	if (datagram && !write && registers.r10 & (MSG_PEEK | MSG_TRUNC))
		return 0;
	__u64 size = ctx[1];
	struct moving *moving = scratch();
	if (!moving)
		return 0;
	moving->move = (struct move){
		.fd = (__u32)registers.di,
		.size = size < registers.dx ? size : registers.dx,
		.buffer = registers.si,
		.name = datagram ? registers.r8 : 0,
		.write = write,
	};
	return moved();
}

/* readv, writev */
static __always_inline int vectored(__u64 *ctx, __u64 write)
{
	struct registers registers;
	if ((__s64)ctx[1] <= 0 || !arguments(ctx, &registers))
		return 0;
	struct moving *moving = scratch();
	if (!moving)
		return 0;
	moving->move = (struct move){
		.fd = (__u32)registers.di,
		.size = ctx[1],
		.vector = registers.si,
		.vectors = registers.dx,
		.write = write,
	};
	return moved();
}

/* sendmsg, recvmsg, one of sendmmsg or recvmmsg */
static __always_inline int message(__u32 fd, __u64 at, __u64 size, __u64 write)
{
	struct moving *moving = scratch();
	if (!moving)
		return 0;
	/* In the call's own place: what stands on the stack counts for all that is called from here (512 bytes). */
	struct message *message = (struct message *)moving->head;
	if (bpf_probe_read_user(message, sizeof(*message), (void *)at))
		return 0;
	moving->move.fd = fd;
	moving->move.size = size;
	moving->move.buffer = 0;
	moving->move.vector = message->vector;
	moving->move.vectors = message->vectors;
	moving->move.name = message->name;
	moving->move.write = write;
	return moved();
}

SEC("raw_tp/sys_exit")
int socket_read(__u64 *ctx)
{
	plain(ctx, 0, 0);
	AFTER(ctx, &RETURNS, __NR_read);
	return 0;
}

SEC("raw_tp/sys_exit")
int socket_write(__u64 *ctx)
{
	plain(ctx, 1, 0);
	AFTER(ctx, &RETURNS, __NR_write);
	return 0;
}

SEC("raw_tp/sys_exit")
int socket_recvfrom(__u64 *ctx)
{
	return plain(ctx, 0, 1);
}

SEC("raw_tp/sys_exit")
int socket_sendto(__u64 *ctx)
{
	return plain(ctx, 1, 1);
}

SEC("raw_tp/sys_exit")
int socket_readv(__u64 *ctx)
{
	vectored(ctx, 0);
	AFTER(ctx, &RETURNS, __NR_readv);
	return 0;
}

SEC("raw_tp/sys_exit")
int socket_writev(__u64 *ctx)
{
	vectored(ctx, 1);
	AFTER(ctx, &RETURNS, __NR_writev);
	return 0;
}

SEC("raw_tp/sys_exit")
int socket_recvmsg(__u64 *ctx)
{
	struct registers registers;
	if ((__s64)ctx[1] <= 0 || !arguments(ctx, &registers) || registers.dx & (MSG_PEEK | MSG_TRUNC))
		return 0;
	return message(registers.di, registers.si, ctx[1], 0);
}

SEC("raw_tp/sys_exit")
int socket_sendmsg(__u64 *ctx)
{
	struct registers registers;
	if ((__s64)ctx[1] <= 0 || !arguments(ctx, &registers))
		return 0;
	return message(registers.di, registers.si, ctx[1], 1);
}

/* One of several messages. A global function, so that the verifier looks at it once. */
__attribute__((noinline)) int one_message(__u64 fd, __u64 at, __u64 write)
{
	/* struct mmsghdr: the message, and the bytes of it that were moved. */
	__u32 size = 0;
	if (!bpf_probe_read_user(&size, sizeof(size), (void *)(at + sizeof(struct message))) && size)
		message(fd, at, size, write);
	return 0;
}

static __always_inline int messages(__u64 *ctx, __u64 write)
{
	struct registers registers;
	if ((__s64)ctx[1] <= 0 || !arguments(ctx, &registers))
		return 0;
	if (!write && registers.r10 & (MSG_PEEK | MSG_TRUNC))
		return 0;
	for (int i = 0; i < MESSAGES; i++) {
		if (i >= (__s64)ctx[1])
			break;
		one_message(registers.di, registers.si + i * (sizeof(struct message) + 8), write);
	}
	return 0;
}

/* The resolver of glibc asks for both kinds of addresses in one call; QUIC sends and receives many datagrams in one. */
SEC("raw_tp/sys_exit")
int socket_sendmmsg(__u64 *ctx)
{
	return messages(ctx, 1);
}

SEC("raw_tp/sys_exit")
int socket_recvmmsg(__u64 *ctx)
{
	return messages(ctx, 0);
}

/* At entry: at the exit the descriptor is free. Other descriptors of the socket in the same process are rare; what they
 * move is then told as of another connection. */
static __always_inline int closed(__u32 fd)
{
	__u64 thread = bpf_get_current_pid_tgid();
	__u32 tgid = thread >> 32;
	struct file *file = file_of(fd);
	if (!file)
		return 0;
	struct connection id = {.object = BPF_CORE_READ(file, f_inode, i_ino), .tgid = tgid};
	struct socket_state *state = bpf_map_lookup_elem(&SOCKETS, &id);
	if (!state)
		return 0;
	__u32 mode = BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT;
	if (mode != S_IFSOCK && mode != S_IFIFO)
		return 0; /* a file of another file system that has the same number */
	int told = state->told || state->followed;
	__u64 sent = state->sent, received = state->received;
	__u64 *partner = bpf_map_lookup_elem(&PARTNERS, &id);
	if (partner) {
		struct connection object = {.object = *partner, .tgid = tgid};
		bpf_map_delete_elem(&PAIRED, &object);
		bpf_map_delete_elem(&PARTNERS, &id);
	}
	bpf_map_delete_elem(&SOCKETS, &id);
	bpf_map_delete_elem(&IGNORED, &id);
	if (!told)
		return 0;
	struct socket_close_event *event = bpf_ringbuf_reserve(&NETWORK, sizeof(*event), 0);
	if (!event) {
		drop(DROP_NETWORK_RING, 1);
		return 0;
	}
	event->socket = id.object;
	event->sent = sent;
	event->received = received;
	fill_header(&event->header, EVENT_SOCKET_CLOSE, sizeof(*event), tgid, thread, leader_start((struct task_struct *)bpf_get_current_task()));
	bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
	return 0;
}

SEC("raw_tp/sys_enter")
int socket_close(__u64 *ctx)
{
	struct registers *registers = (void *)ctx[0];
	__u64 fd = 0;
	if (!bpf_probe_read_kernel(&fd, sizeof(fd), &registers->di))
		closed(fd);
	AFTER(ctx, &ENTRIES, __NR_close);
	return 0;
}
