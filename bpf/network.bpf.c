/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Connections of watched processes: connect, listen, accept, and their ends.
 *
 * TCP is followed by its states, because only they tell the outcome of a connect that did not wait, and the end of a
 * connection whoever holds its descriptors. A socket is in FLOWS from the connect or accept to that end; for all other
 * connections of the host, a change of state costs one look into it. What is no TCP is told by its system calls.
 *
 * Comes after socket.bpf.c, whose helpers it uses. */

#define IPPROTO_TCP 6

/* include/net/tcp_states.h */
#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT 2
#define TCP_SYN_RECV 3
#define TCP_FIN_WAIT1 4
#define TCP_CLOSE 7
#define TCP_LAST_ACK 9

/* include/net/sock.h: bits of skc_flags; the other side's FIN came */
#define SOCK_DONE 2
/* include/net/sock.h: both directions of sk_shutdown */
#define SHUTDOWN_MASK 3

/* include/uapi/asm-generic/errno.h, include/linux/errno.h: what a connect answers that goes on. */
#define EINTR 4
#define EINPROGRESS 115
#define EALREADY 114
#define ERESTARTSYS 512
#define ERESTART_RESTARTBLOCK 516

/* A TCP connection, from the connect or accept on. */
struct flow {
	__u64 began;
	__u64 socket;
	__u64 start; /* of the process */
	__u32 tgid;
	__u32 tid;
	__u64 returned; /* the system call is over, the outcome open */
	__u64 ended;    /* it failed; the error is below */
	__s32 error;
	__u8 waiting;  /* a system call will tell how it went, if it fails */
	__u8 open;
	__u8 accepted;
	__u8 finished; /* this side said by itself that it sends no more */
};
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 16384); __type(key, __u64); __type(value, struct flow); } FLOWS SEC(".maps");

/* Threads that are in a connect. */
struct calling {
	__u64 began;
	__u64 again; /* 1: the socket's connect was under way already */
};
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, 4096); __type(key, __u64); __type(value, struct calling); } CALLING SEC(".maps");

/* A place in the ring for what is told. Not one of each processor's: TCP's states change in interrupts, too. */
static __always_inline struct network_event *telling(__u32 action, __u64 socket, __u64 began)
{
	struct network_event *event = bpf_ringbuf_reserve(&NETWORK, sizeof(*event), 0);
	if (!event) {
		drop(DROP_NETWORK_RING, 1);
		return 0;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->action = action;
	event->socket = socket;
	event->began = began;
	return event;
}

/* The same, with room for a path. */
static __always_inline struct local_network_event *telling_path(__u32 action, __u64 socket, __u64 began)
{
	struct local_network_event *event = bpf_ringbuf_reserve(&NETWORK, sizeof(*event), 0);
	if (!event) {
		drop(DROP_NETWORK_RING, 1);
		return 0;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->event.action = action;
	event->event.socket = socket;
	event->event.began = began;
	return event;
}

/* Both ends, as the socket knows them. */
static __always_inline void read_ends(struct network_event *event, struct sock *sk)
{
	event->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	event->protocol = BPF_CORE_READ(sk, sk_protocol);
	if (event->family != AF_INET && event->family != AF_INET6)
		return;
	event->local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	event->peer_port = __builtin_bswap16(BPF_CORE_READ(sk, __sk_common.skc_dport));
	if (event->family == AF_INET) {
		bpf_core_read(event->local, 4, &sk->__sk_common.skc_rcv_saddr);
		bpf_core_read(event->peer, 4, &sk->__sk_common.skc_daddr);
	} else if (bpf_core_field_exists(sk->__sk_common.skc_v6_daddr)) {
		bpf_core_read(event->local, 16, &sk->__sk_common.skc_v6_rcv_saddr);
		bpf_core_read(event->peer, 16, &sk->__sk_common.skc_v6_daddr);
	}
}

static __always_inline void tell_network(struct network_event *event, __u32 size, __u32 tgid, __u32 tid, __u64 start)
{
	fill_header(&event->header, EVENT_NETWORK, size, tgid, tid, start);
	bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
}

/* The outcome of a connect by TCP that the socket itself still knows the ends of. */
static __always_inline void tell_outcome(struct sock *sk, struct flow *flow, __s32 error)
{
	struct network_event *event = telling(NETWORK_CONNECT, flow->socket, flow->began);
	if (!event)
		return;
	read_ends(event, sk);
	event->type = SOCK_STREAM;
	event->error = error;
	tell_network(event, sizeof(*event), flow->tgid, flow->tid, flow->start);
}

/* The end of a connection. The counts of tcp_sock hold the SYN of the side that asked, and each FIN. */
static __always_inline void tell_end(struct sock *sk, struct flow *flow)
{
	struct network_event *event = telling(NETWORK_CLOSE, flow->socket, flow->began);
	if (!event)
		return;
	struct tcp_sock *tcp = (void *)sk;
	read_ends(event, sk);
	event->type = SOCK_STREAM;
	event->error = BPF_CORE_READ(sk, sk_err);
	__u32 under_way = BPF_CORE_READ(tcp, write_seq) - BPF_CORE_READ(tcp, snd_una);
	__u64 sent = BPF_CORE_READ(tcp, bytes_acked) + under_way;
	__u64 extra = (flow->accepted ? 0 : 1) + flow->finished;
	__u64 received = BPF_CORE_READ(tcp, bytes_received);
	__u64 fin = BPF_CORE_READ(sk, __sk_common.skc_flags) & SOCK_DONE ? 1 : 0;
	event->sent = sent > extra ? sent - extra : 0;
	event->received = received > fin ? received - fin : 0;
	tell_network(event, sizeof(*event), flow->tgid, flow->tid, flow->start);
}

/* A connect begins, in the thread that asked for it. */
static __always_inline void begin(struct sock *sk, __u64 key)
{
	__u64 thread = bpf_get_current_pid_tgid();
	__u32 tgid = thread >> 32;
	if (!watched(tgid))
		return;
	/* MPTCP has these states, too, and so have the connections that it is made of: its system calls tell. */
	if (BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP || BPF_CORE_READ(sk, sk_socket, sk) != sk)
		return;
	struct flow flow = {
		.began = bpf_ktime_get_boot_ns(),
		.socket = BPF_CORE_READ(sk, sk_socket, file, f_inode, i_ino),
		.start = leader_start((struct task_struct *)bpf_get_current_task()),
		.tgid = tgid,
		.tid = thread,
	};
	if (!flow.socket)
		return;
	struct calling *calling = bpf_map_lookup_elem(&CALLING, &thread);
	if (calling) {
		flow.waiting = 1;
		flow.began = calling->began;
	}
	if (bpf_map_update_elem(&FLOWS, &key, &flow, BPF_ANY))
		drop(DROP_NETWORK_MAP, 1);
}

SEC("raw_tp/inet_sock_set_state")
int network_state(__u64 *ctx)
{
	struct sock *sk = (void *)ctx[0];
	__u64 key = ctx[0];
	__u32 state = ctx[2];
	if (state == TCP_SYN_SENT) {
		begin(sk, key);
		return 0;
	}
	struct flow *flow = bpf_map_lookup_elem(&FLOWS, &key);
	if (!flow)
		return 0;
	if (state == TCP_ESTABLISHED) {
		if (!flow->open) {
			flow->open = 1;
			tell_outcome(sk, flow, 0);
		}
		return 0;
	}
	if (!flow->open) {
		if (state == TCP_SYN_RECV)
			return 0;
		if (state != TCP_CLOSE) {
			/* The kernel skips a program that it interrupted itself: that it was established was missed. */
			flow->open = 1;
			tell_outcome(sk, flow, 0);
			goto open;
		}
		flow->error = BPF_CORE_READ(sk, sk_err);
		/* The system call may be returning just now, on another processor: each says its own first, then looks for
		 * the other's, and who takes the entry out tells. The additions are barriers. */
		__sync_fetch_and_add(&flow->ended, 1);
		struct flow copy = *flow;
		if (copy.waiting && !copy.returned)
			return 0;
		if (!bpf_map_delete_elem(&FLOWS, &key))
			tell_outcome(sk, &copy, copy.error ? copy.error : NETWORK_ABORTED);
		return 0;
	}
open:
	if (state != TCP_FIN_WAIT1 && state != TCP_LAST_ACK && state != TCP_CLOSE)
		return 0;
	if (state != TCP_CLOSE && BPF_CORE_READ(sk, sk_shutdown) != SHUTDOWN_MASK) {
		flow->finished = 1; /* more may be received */
		return 0;
	}
	struct flow copy = *flow;
	if (!bpf_map_delete_elem(&FLOWS, &key))
		tell_end(sk, &copy);
	return 0;
}

/* The socket of a descriptor; 0: it is none. */
static __always_inline struct socket *socket_of(__u32 fd, struct file **file)
{
	*file = file_of(fd);
	if (!*file || (BPF_CORE_READ(*file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return 0;
	return BPF_CORE_READ(*file, private_data);
}

SEC("raw_tp/sys_enter")
int network_enter_connect(__u64 *ctx)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct registers *registers = (void *)ctx[0];
	struct file *file;
	__u64 fd = 0;
	if (bpf_probe_read_kernel(&fd, sizeof(fd), &registers->di))
		return 0;
	struct socket *socket = socket_of(fd, &file);
	if (!socket)
		return 0;
	struct calling calling = {
		.began = bpf_ktime_get_boot_ns(),
		.again = BPF_CORE_READ(socket, state) == SS_CONNECTING,
	};
	bpf_map_update_elem(&CALLING, &thread, &calling, BPF_ANY);
	return 0;
}

/* The path of a local socket's address, as the process gave it. */
static __always_inline void read_given_path(struct local_network_event *event, __u64 name, __u64 size)
{
	if (size <= 2)
		return;
	size -= 2;
	asm volatile("if %[n] <= %[max] goto +1; %[n] = %[max]" : [n] "+r"(size) : [max] "i"(NETWORK_PATH_SIZE));
	if (!bpf_probe_read_user(event->path, size, (void *)(name + 2)))
		event->event.path_size = size;
}

/* The address that a local socket is bound to. */
static __always_inline void read_bound_path(struct local_network_event *event, struct sock *sk)
{
	struct unix_address *address = BPF_CORE_READ((struct unix_sock *)sk, addr);
	if (!address)
		return;
	int length = BPF_CORE_READ(address, len);
	if (length <= 2)
		return;
	__u64 size = (__u64)length - 2;
	asm volatile("if %[n] <= %[max] goto +1; %[n] = %[max]" : [n] "+r"(size) : [max] "i"(NETWORK_PATH_SIZE));
	/* The name is the structure's last member, of no length of its own. */
	void *name = (void *)address + bpf_core_type_size(struct unix_address);
	if (!bpf_probe_read_kernel(event->path, size, name + 2))
		event->event.path_size = size;
}

/* From now on the end of this local socket is told, whatever it carries. */
static __always_inline void follow(struct file *file, __u32 tgid, __u16 type)
{
	struct connection id = {.object = BPF_CORE_READ(file, f_inode, i_ino), .tgid = tgid};
	struct socket_state fresh = {.kind = type == SOCK_STREAM ? SOCKET_UNIX : -1, .last = 2, .silent = type != SOCK_STREAM, .followed = 1};
	/* What had this number before is gone. */
	bpf_map_update_elem(&SOCKETS, &id, &fresh, BPF_ANY);
}

SEC("raw_tp/sys_exit")
int network_connect(__u64 *ctx)
{
	struct registers registers;
	if (!arguments(ctx, &registers))
		return 0;
	__u64 thread = bpf_get_current_pid_tgid();
	struct calling *calling = bpf_map_lookup_elem(&CALLING, &thread);
	if (!calling)
		return 0;
	__u64 began = calling->began, again = calling->again;
	bpf_map_delete_elem(&CALLING, &thread);
	struct file *file;
	struct socket *socket = socket_of(registers.di, &file);
	if (!socket || again)
		return 0;
	struct sock *sk = BPF_CORE_READ(socket, sk);
	__u64 key = (__u64)sk;
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);
	__u16 type = BPF_CORE_READ(socket, type);
	int internet = family == AF_INET || family == AF_INET6;
	__s64 result = ctx[1];
	int pending = result == -EINPROGRESS || result == -EALREADY || result == -EINTR ||
		      (result <= -ERESTARTSYS && result >= -ERESTART_RESTARTBLOCK);
	if (internet && type == SOCK_STREAM && BPF_CORE_READ(sk, sk_protocol) == IPPROTO_TCP) {
		if (result >= 0)
			return 0; /* told when it was established */
		struct flow *flow = bpf_map_lookup_elem(&FLOWS, &key);
		if (pending) {
			if (!flow)
				return 0;
			__sync_fetch_and_add(&flow->returned, 1);
			struct flow copy = *flow;
			if (copy.ended && !bpf_map_delete_elem(&FLOWS, &key))
				tell_outcome(sk, &copy, copy.error ? copy.error : NETWORK_ABORTED);
			return 0;
		}
		if (flow) {
			if (flow->open)
				return 0; /* connected already */
			bpf_map_delete_elem(&FLOWS, &key);
		}
	} else if (internet) {
		/* Of what goes on, and of datagrams, nothing was sent yet: they are told at their first use. */
		if (pending || (result >= 0 && type != SOCK_STREAM))
			return 0;
	} else if (family != AF_UNIX) {
		return 0;
	}
	struct local_network_event *event = telling_path(NETWORK_CONNECT, BPF_CORE_READ(file, f_inode, i_ino), began);
	if (!event)
		return 0;
	read_ends(&event->event, sk);
	event->event.type = type;
	event->event.error = result < 0 ? -result : 0;
	if (family == AF_UNIX) {
		read_given_path(event, registers.si, (__u32)registers.dx);
		if (result >= 0)
			follow(file, thread >> 32, type);
	} else {
		/* A socket whose connect failed knows nothing of it any more. */
		struct address address = {};
		__builtin_memset(event->event.peer, 0, 16);
		event->event.peer_port = port_of(registers.si, &address);
		if (event->event.peer_port && address.family == AF_INET) {
			/* An IPv6 socket may have been given none. */
			if (family != AF_INET)
				event->event.local_port = 0;
			event->event.family = AF_INET;
			__builtin_memcpy(event->event.peer, &address.v4, 4);
		} else if (event->event.peer_port) {
			__builtin_memcpy(event->event.peer, address.v6, 16);
		}
	}
	tell_network(&event->event, sizeof(*event), thread >> 32, thread, leader_start((struct task_struct *)bpf_get_current_task()));
	return 0;
}

SEC("raw_tp/sys_exit")
int network_listen(__u64 *ctx)
{
	struct registers registers;
	if (!arguments(ctx, &registers))
		return 0;
	__u64 thread = bpf_get_current_pid_tgid();
	struct file *file;
	struct socket *socket = socket_of(registers.di, &file);
	if (!socket)
		return 0;
	struct sock *sk = BPF_CORE_READ(socket, sk);
	struct local_network_event *event = telling_path(NETWORK_LISTEN, BPF_CORE_READ(file, f_inode, i_ino), bpf_ktime_get_boot_ns());
	if (!event)
		return 0;
	read_ends(&event->event, sk);
	event->event.type = BPF_CORE_READ(socket, type);
	event->event.error = (__s64)ctx[1] < 0 ? -(__s64)ctx[1] : 0;
	event->event.backlog = registers.si;
	if (event->event.family == AF_UNIX)
		read_bound_path(event, sk);
	tell_network(&event->event, sizeof(*event), thread >> 32, thread, leader_start((struct task_struct *)bpf_get_current_task()));
	return 0;
}

/* accept, accept4 */
static __always_inline int accepted(__u64 *ctx)
{
	__u64 thread = bpf_get_current_pid_tgid();
	__u32 tgid = thread >> 32;
	if ((__s64)ctx[1] < 0)
		return 0;
	struct file *file;
	struct socket *socket = socket_of(ctx[1], &file);
	if (!socket)
		return 0;
	struct sock *sk = BPF_CORE_READ(socket, sk);
	__u64 start = leader_start((struct task_struct *)bpf_get_current_task());
	struct local_network_event *event = telling_path(NETWORK_ACCEPT, BPF_CORE_READ(file, f_inode, i_ino), bpf_ktime_get_boot_ns());
	if (!event)
		return 0;
	read_ends(&event->event, sk);
	event->event.type = BPF_CORE_READ(socket, type);
	if (event->event.family == AF_UNIX) {
		read_bound_path(event, sk);
		follow(file, tgid, event->event.type);
	} else if (event->event.protocol == IPPROTO_TCP && BPF_CORE_READ(sk, __sk_common.skc_state) != TCP_CLOSE) {
		__u64 key = (__u64)sk;
		struct flow flow = {
			.began = event->event.began,
			.socket = event->event.socket,
			.start = start,
			.tgid = tgid,
			.tid = thread,
			.open = 1,
			.accepted = 1,
		};
		if (bpf_map_update_elem(&FLOWS, &key, &flow, BPF_ANY))
			drop(DROP_NETWORK_MAP, 1);
	}
	tell_network(&event->event, sizeof(*event), tgid, thread, start);
	return 0;
}

SEC("raw_tp/sys_exit")
int network_accept(__u64 *ctx)
{
	return accepted(ctx);
}

SEC("raw_tp/sys_exit")
int network_accept4(__u64 *ctx)
{
	return accepted(ctx);
}

/* See process_layouts. */
int network_layouts(struct local_network_event *event)
{
	return 0;
}
