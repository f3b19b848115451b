/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Sockets and pipes of watched processes: HTTP and JSON-RPC as they are on the wire, the handshakes of TLS, DNS, and
 * through which socket a TLS object's records go.
 *
 * All of it sits at the exits of system calls: only there it is known what was moved, and the arguments are still in the
 * registers that the kernel saved at entry. So a call costs one program, not two, and nothing is kept between them. */
#include "include/payload.h"

/* include/uapi/linux/stat.h, include/linux/socket.h, include/linux/net.h */
#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define S_IFIFO 0010000
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define DNS_PORT 53

/* How often the beginning of a call is looked at before a socket is given up. */
#define LOOKS 32
/* Of pipes and local sockets, the first bytes of so many calls are looked at, and then of the call that doubles their number: a
 * server may log for long before it speaks. */
#define GLANCES 4096
/* The same of the calls that begin as JSON does, whose first kilobyte is searched. */
#define SEARCHES 256
/* The first calls are all looked at, later ones only where the direction turns: a message begins there. */
#define EAGER 8
/* Calls of each direction whose handshake is handed over at length, and how much of these and of later ones. */
#define HANDSHAKES 4
#define HANDSHAKE_LONG LARGE
#define HANDSHAKE_SHORT 64
/* How far a JSON-RPC message's "jsonrpc" may be from its beginning. */
#define HEAD 1024
/* A record of TLS 1.3 that holds nothing but an alert: 5 bytes of header, 2 of alert, its type, 16 of tag (RFC 8446,
 * sections 5.2 and 6). Libraries send it by themselves, so it is no answer to a write. */
#define ALERT 24
/* Pieces of one call: iovecs, and chunks of them. */
#define PIECES 256

enum verdict {
	VERDICT_UNKNOWN = 0,
	VERDICT_HTTP = 1,
	VERDICT_TLS = 2,
	VERDICT_RPC = 3,
	VERDICT_DNS = 4,
};

/* A socket or pipe as one process uses it. */
struct socket_state {
	__u64 sent;
	__u64 received;
	__u32 kind; /* enum socket_kind */
	__u32 verdict;
	__u32 silent; /* 1: given up, or ruled out by user space */
	__u32 looks;
	__u32 told; /* 1: EVENT_SOCKET was sent */
	__u32 last; /* direction of the last call; 2 before the first */
	__u32 handshakes[2];
	__u32 followed; /* 1: its end is told even if its use was not */
	__u32 calls; /* of pipes and local sockets, until it is known what they carry */
};
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, 16384); __type(key, struct connection); __type(value, struct socket_state); } SOCKETS SEC(".maps");

/* What a system call moved. */
struct move {
	__u64 fd;
	__u64 size; /* bytes moved, more than 0 */
	__u64 buffer; /* 0: iovecs */
	__u64 vector;
	__u64 vectors;
	__u64 name; /* address of the peer's address, if one was given */
	__u64 write;
};

/* The call that is looked at. These programs run with preemption off, so one a processor is enough. */
struct moving {
	struct move move;
	struct call call;
	__u64 base; /* of the present piece */
	__u64 left; /* bytes of it that are still to be handed over */
	__u64 vector; /* address of the next iovec */
	__u64 vectors; /* iovecs to come */
	__u64 offset; /* bytes handed over */
	__u8 head[2 * HEAD]; /* twice, so that the verifier sees that no piece can go beyond it */
};
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct moving); } MOVING SEC(".maps");

struct iovec {
	__u64 base;
	__u64 length;
};

/* struct user_msghdr, include/linux/socket.h */
struct message {
	__u64 name;
	__u32 name_length;
	__u32 pad;
	__u64 vector;
	__u64 vectors;
	__u64 control;
	__u64 control_length;
	__u64 flags;
};

static __always_inline struct moving *scratch(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&MOVING, &zero);
}

static __always_inline struct file *file_of(__u32 fd)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	if (fd >= BPF_CORE_READ(table, max_fds))
		return 0;
	struct file **files = BPF_CORE_READ(table, fd);
	struct file *file = 0;
	bpf_probe_read_kernel(&file, sizeof(file), files + fd);
	return file;
}

/* Hands over the next piece of the call in MOVING, up to `limit` bytes of the call's `total`. 0: there is no more. A
 * global function, so that the verifier looks at it once. */
__attribute__((noinline)) __u64 hand_over_piece(__u64 limit, __u64 total, __u64 write)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct moving *moving = scratch();
	if (!moving)
		return 0;
	__u64 offset = moving->offset;
	if (offset >= limit)
		return 0;
	if (!moving->left) {
		struct iovec vector = {};
		if (!moving->vectors || bpf_probe_read_user(&vector, sizeof(vector), (void *)moving->vector))
			return 0;
		moving->vectors--;
		moving->vector += sizeof(vector);
		moving->base = vector.base;
		moving->left = vector.length;
		return 1;
	}
	struct call *call = &moving->call;
	__u64 left = moving->left < limit - offset ? moving->left : limit - offset;
	__u64 given;
	call->buffer = moving->base - offset;
	if (left <= SMALL)
		given = CHUNK(SMALL);
	else if (left <= MEDIUM)
		given = CHUNK(MEDIUM);
	else if (left < HUGE)
		given = CHUNK(LARGE);
	else
		given = CHUNK(HUGE);
	moving->base += given;
	moving->left -= given;
	moving->offset += given;
	return 1;
}

/* Hands over the call in MOVING, or its beginning. This and the functions below are global, too: the verifier's time is
 * onlooker's time to start. */
__attribute__((noinline)) int give(__u64 object, __u64 source, __u64 limit)
{
	struct moving *moving = scratch();
	if (!moving)
		return 0;
	__u64 total = moving->move.size, write = moving->move.write;
	if (limit > total)
		limit = total;
	moving->call.object = object;
	moving->call.source = source;
	moving->call.socket = object;
	moving->call.start = leader_start((struct task_struct *)bpf_get_current_task());
	moving->base = moving->move.buffer;
	moving->left = moving->move.buffer ? limit : 0;
	moving->vector = moving->move.vector;
	moving->vectors = moving->move.vectors;
	moving->offset = 0;
	for (int i = 0; i < PIECES; i++) {
		if (!hand_over_piece(limit, total, write))
			break;
	}
	if (moving->offset < limit)
		drop(DROP_TOO_LARGE, limit - moving->offset);
	return 0;
}

/* Reads one piece of the beginning. False after the last one. No loop: clang turned it so that its end fell into its
 * beginning, which verifiers up to 6.1 refuse ("back-edge"). */
static __always_inline int first_piece(struct moving *moving, __u64 i, __u64 size, __u64 *length)
{
	if (*length >= size)
		return 0;
	struct iovec piece = {.base = moving->move.buffer, .length = moving->move.size};
	if (!piece.base && (i >= moving->move.vectors ||
			    bpf_probe_read_user(&piece, sizeof(piece), (void *)(moving->move.vector + i * sizeof(piece)))))
		return 0;
	__u64 part = piece.length < size - *length ? piece.length : size - *length;
	__u64 at = *length;
	asm volatile("if %[n] <= %[max] goto +1; %[n] = %[max]" : [n] "+r"(part) : [max] "i"(HEAD));
	asm volatile("%[n] &= %[mask]" : [n] "+r"(at) : [mask] "i"(HEAD - 1));
	if (part && bpf_probe_read_user(moving->head + at, part, (void *)piece.base))
		return 0;
	*length += part;
	return 1;
}

/* Reads the beginning of what was moved. Gives its length, at most `size`; what follows it is 0, 16 bytes at least. */
__attribute__((noinline)) __u64 beginning(__u64 size)
{
	struct moving *moving = scratch();
	if (!moving)
		return 0;
	if (size > moving->move.size)
		size = moving->move.size;
	__builtin_memset(moving->head, 0, 16);
	/* A message may be in several pieces, empty ones among them. */
	__u64 length = 0;
	if (first_piece(moving, 0, size, &length) && first_piece(moving, 1, size, &length) &&
	    first_piece(moving, 2, size, &length) && first_piece(moving, 3, size, &length) &&
	    first_piece(moving, 4, size, &length))
		first_piece(moving, 5, size, &length);
	return length;
}

/* The four bytes as they are read from memory on this machine. */
#define WORD(a, b, c, d) ((__u32)(a) | (__u32)(b) << 8 | (__u32)(c) << 16 | (__u32)(d) << 24)

/* A record of TLS: its type (RFC 8446, section 5.1), and a version of 3.x. */
static __always_inline int is_record(const __u8 *head, __u8 type)
{
	return head[0] == type && head[1] == 3 && head[2] <= 4;
}

/* What begins with these 16 bytes. */
static __always_inline __u32 judge(const __u8 *head)
{
	__u32 word = WORD(head[0], head[1], head[2], head[3]);
	__u32 next = WORD(head[4], head[5], head[6], head[7]);
	__u8 target = 0;
	if (word == WORD('H', 'T', 'T', 'P'))
		return WORD(head[4], head[5], head[6], 0) == WORD('/', '1', '.', 0) ? VERDICT_HTTP : VERDICT_UNKNOWN;
	if (word == WORD('G', 'E', 'T', ' ') || word == WORD('P', 'U', 'T', ' '))
		target = head[4];
	else if ((word == WORD('P', 'O', 'S', 'T') || word == WORD('H', 'E', 'A', 'D')) && head[4] == ' ')
		target = head[5];
	else if ((word == WORD('P', 'A', 'T', 'C') && head[4] == 'H' && head[5] == ' ') ||
		 (word == WORD('T', 'R', 'A', 'C') && head[4] == 'E' && head[5] == ' '))
		target = head[6];
	else if (word == WORD('D', 'E', 'L', 'E') && head[4] == 'T' && head[5] == 'E' && head[6] == ' ')
		target = head[7];
	else if (word == WORD('C', 'O', 'N', 'N') && next == WORD('E', 'C', 'T', ' '))
		return VERDICT_HTTP;
	else if (word == WORD('O', 'P', 'T', 'I') && next == WORD('O', 'N', 'S', ' '))
		target = head[8];
	else if (word == WORD('P', 'R', 'I', ' ') && next == WORD('*', ' ', 'H', 'T'))
		return VERDICT_HTTP;
	if (target == '/' || target == 'h' || target == '*')
		return VERDICT_HTTP;
	/* 20 to 23: the connection may have been joined in its middle. */
	if (head[1] == 3 && head[2] <= 4 && head[0] >= 0x14 && head[0] <= 0x17)
		return VERDICT_TLS;
	return VERDICT_UNKNOWN;
}

/* Whether the head in MOVING, which was zero before, is a JSON-RPC message's: an object with a member "jsonrpc" near its
 * beginning. */
__attribute__((noinline)) __u64 is_rpc(void)
{
	struct moving *moving = scratch();
	if (!moving)
		return 0;
	__u8 first = 0;
	for (int i = 0; i < 8; i++) {
		first = moving->head[i];
		if (first != ' ' && first != '\n' && first != '\r' && first != '\t')
			break;
	}
	if (first != '{' && first != '[')
		return 0;
	/* No branches, for the verifier's sake. */
	__u64 differs = 1;
	for (int i = 0; i < HEAD; i++) {
		__u64 name = (__u64)WORD(moving->head[i], moving->head[i + 1], moving->head[i + 2], moving->head[i + 3]) |
			     (__u64)WORD(moving->head[i + 4], moving->head[i + 5], moving->head[i + 6], moving->head[i + 7]) << 32;
		__u64 difference = name ^ ((__u64)WORD('"', 'j', 's', 'o') | (__u64)WORD('n', 'r', 'p', 'c') << 32);
		differs &= (difference | -difference) >> 63;
	}
	return !differs;
}

/* Makes all of the head zero. */
__attribute__((noinline)) int clear_head(void)
{
	struct moving *moving = scratch();
	if (!moving)
		return 0;
	for (int i = 0; i < HEAD / 8 + 1; i++)
		((volatile __u64 *)moving->head)[i] = 0;
	return 0;
}

struct address {
	__u16 family;
	__be16 port;
	__be32 v4; /* in an IPv6 address the flow information */
	__u8 v6[16];
};

/* Port of a given peer address, in host byte order. */
static __always_inline __u32 port_of(__u64 name, struct address *address)
{
	/* The IPv4 form is 16 bytes long, and more may not be readable. */
	if (bpf_probe_read_user(address, 16, (void *)name))
		return 0;
	if (address->family == AF_INET6 && bpf_probe_read_user(address, sizeof(*address), (void *)name))
		return 0;
	if (address->family != AF_INET && address->family != AF_INET6)
		return 0;
	return __builtin_bswap16(address->port);
}

/* Tells the first use of a socket or pipe. Not inlined: what it needs of the stack would count for all that is called from
 * where it stands. */
static __attribute__((noinline)) int tell(struct file *file, struct connection *id, struct socket_state *state, struct move *move,
					  __u64 thread)
{
	state->told = 1;
	struct socket_event *event = bpf_ringbuf_reserve(&NETWORK, sizeof(*event), 0);
	if (!event) {
		drop(DROP_NETWORK_RING, 1);
		return 0;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->id = id->object;
	event->kind = state->kind;
	event->received = !move->write;
	__u64 name = state->kind == SOCKET_UDP ? move->name : 0;
	if (state->kind == SOCKET_PIPE)
		goto out;
	struct socket *socket = BPF_CORE_READ(file, private_data);
	struct sock *sk = BPF_CORE_READ(socket, sk);
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);
	if (family == AF_UNIX) {
		struct sock *peer = BPF_CORE_READ((struct unix_sock *)sk, peer);
		/* A closed peer has no socket any more, one that was not accepted yet no file: then nothing can be read. */
		event->other = BPF_CORE_READ(peer, sk_socket, file, f_inode, i_ino);
		goto out;
	}
	event->family = family;
	event->local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	event->peer_port = __builtin_bswap16(BPF_CORE_READ(sk, __sk_common.skc_dport));
	if (family == AF_INET) {
		bpf_core_read(event->local, 4, &sk->__sk_common.skc_rcv_saddr);
		bpf_core_read(event->peer, 4, &sk->__sk_common.skc_daddr);
	} else if (bpf_core_field_exists(sk->__sk_common.skc_v6_daddr)) {
		bpf_core_read(event->local, 16, &sk->__sk_common.skc_v6_rcv_saddr);
		bpf_core_read(event->peer, 16, &sk->__sk_common.skc_v6_daddr);
	}
	if (!event->peer_port && name) {
		struct address address = {};
		__u32 port = port_of(name, &address);
		if (port && address.family == family) {
			event->peer_port = port;
			if (family == AF_INET)
				__builtin_memcpy(event->peer, &address.v4, 4);
			else
				__builtin_memcpy(event->peer, address.v6, 16);
		}
	}
out:
	fill_header(&event->header, EVENT_SOCKET, sizeof(*event), thread >> 32, thread, leader_start((struct task_struct *)bpf_get_current_task()));
	bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
	return 0;
}

/* A TLS object's thread sent on this socket. */
static __always_inline void settle(struct moving *moving, struct connection *id, struct socket_state *state, __u64 tid)
{
	struct thread *thread = bpf_map_lookup_elem(&THREADS, &tid);
	if (!thread || !thread->owed)
		return;
	if (state->verdict == VERDICT_HTTP || state->verdict == VERDICT_RPC) {
		thread->owed = 0;
		return;
	}
	/* What is sent at the end of a handshake, or by itself, was not written by the program. */
	if (moving->move.size <= ALERT || beginning(3) < 3 || !is_record(moving->head, 0x17))
		return;
	struct connection object = {.object = thread->owed, .tgid = id->tgid};
	__u64 source = thread->source;
	thread->owed = 0;
	__u64 *before = bpf_map_lookup_elem(&PAIRED, &object);
	if (before) {
		struct connection old = {.object = *before, .tgid = id->tgid};
		/* While its own socket is open, a send on another one is somebody else's. */
		if (old.object == id->object || bpf_map_lookup_elem(&SOCKETS, &old))
			return;
	}
	__u64 *partner = bpf_map_lookup_elem(&PARTNERS, id);
	/* A record's protection is exchanged when the handshake ends, a TLS object stays. */
	if (partner && *partner != object.object && source == SOURCE_TLS)
		return;
	bpf_map_update_elem(&PAIRED, &object, &id->object, BPF_ANY);
	bpf_map_update_elem(&PARTNERS, id, &object.object, BPF_ANY);
	struct pair_event *event = bpf_ringbuf_reserve(&NETWORK, sizeof(*event), 0);
	if (!event) {
		drop(DROP_NETWORK_RING, 1);
		return;
	}
	event->object = object.object;
	event->socket = id->object;
	event->write = 1;
	event->pad = 0;
	fill_header(&event->header, EVENT_PAIR, sizeof(*event), tid >> 32, tid, leader_start((struct task_struct *)bpf_get_current_task()));
	bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
}

/* What is read from a TLS object next by this thread, came from this socket. */
static __always_inline void remember(__u64 inode, __u64 tid)
{
	struct thread *thread = bpf_map_lookup_elem(&THREADS, &tid);
	if (thread) {
		thread->received = inode;
		return;
	}
	struct thread fresh = {.received = inode};
	bpf_map_update_elem(&THREADS, &tid, &fresh, BPF_ANY);
}

/* Whether these 16 bytes are the header that JSON-RPC may be framed with, in any case of letters. What follows it is user
 * space's to judge. */
static __always_inline int is_framed(const __u8 *head)
{
	return (WORD(head[0], head[1], head[2], head[3]) | 0x20202020) == WORD('c', 'o', 'n', 't') &&
	       (WORD(head[4], head[5], head[6], head[7]) | 0x20202020) == WORD('e', 'n', 't', '-') &&
	       (WORD(head[8], head[9], head[10], head[11]) | 0x20202020) == WORD('l', 'e', 'n', 'g') &&
	       (WORD(head[12], head[13], head[14], 0) | 0x2020) == WORD('t', 'h', ':', 0);
}

/* Looks at the beginning of a call for what the socket carries. */
static __always_inline __u32 look(struct moving *moving, struct socket_state *state, __u32 write)
{
	if (state->kind == SOCKET_TCP) {
		if (state->looks >= EAGER && state->last == write)
			return VERDICT_UNKNOWN;
		if (++state->looks > LOOKS) {
			state->silent = 1;
			return VERDICT_UNKNOWN;
		}
		return beginning(16) < 6 ? VERDICT_UNKNOWN : judge(moving->head);
	}
	__u32 calls = ++state->calls;
	if ((calls > GLANCES && calls & (calls - 1)) || beginning(16) < 6)
		return VERDICT_UNKNOWN;
	if (state->kind == SOCKET_UNIX && (calls <= EAGER || (state->last != write && calls <= 2 * LOOKS))) {
		__u32 verdict = judge(moving->head);
		if (verdict)
			return verdict;
	}
	if (is_framed(moving->head))
		return VERDICT_RPC;
	__u8 first = moving->head[0];
	if (first != '{' && first != '[' && first != ' ' && first != '\n' && first != '\r' && first != '\t')
		return VERDICT_UNKNOWN;
	__u32 looks = ++state->looks;
	if (looks > SEARCHES && looks & (looks - 1))
		return VERDICT_UNKNOWN;
	clear_head();
	beginning(HEAD);
	return is_rpc() ? VERDICT_RPC : VERDICT_UNKNOWN;
}

/* Which kind of thing this is; -1: none of interest. */
static __always_inline int kind_of(struct file *file, __u32 mode, __u32 *port)
{
	if (mode == S_IFIFO)
		return SOCKET_PIPE;
	struct socket *socket = BPF_CORE_READ(file, private_data);
	struct sock *sk = BPF_CORE_READ(socket, sk);
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);
	__u32 type = BPF_CORE_READ(socket, type);
	if (type == SOCK_STREAM && family == AF_UNIX)
		return SOCKET_UNIX;
	if (family != AF_INET && family != AF_INET6)
		return -1;
	*port = __builtin_bswap16(BPF_CORE_READ(sk, __sk_common.skc_dport));
	return type == SOCK_STREAM ? SOCKET_TCP : type == SOCK_DGRAM ? SOCKET_UDP : -1;
}

/* A watched process moved bytes, as MOVING says. */
__attribute__((noinline)) int moved(void)
{
	struct moving *moving = scratch();
	if (!moving)
		return 0;
	struct move *move = &moving->move;
	__u64 thread = bpf_get_current_pid_tgid();
	struct file *file = file_of(move->fd);
	if (!file)
		return 0;
	struct inode *inode = BPF_CORE_READ(file, f_inode);
	__u32 mode = BPF_CORE_READ(inode, i_mode) & S_IFMT;
	if (mode != S_IFSOCK && mode != S_IFIFO)
		return 0;
	struct connection id = {.object = BPF_CORE_READ(inode, i_ino), .tgid = thread >> 32};
	struct socket_state *state = bpf_map_lookup_elem(&SOCKETS, &id);
	if (!state) {
		__u32 port = 0;
		int kind = kind_of(file, mode, &port);
		struct socket_state fresh = {.kind = kind, .last = 2, .silent = kind < 0};
		if ((kind == SOCKET_UDP || kind == SOCKET_TCP) && port == DNS_PORT)
			fresh.verdict = VERDICT_DNS;
		bpf_map_update_elem(&SOCKETS, &id, &fresh, BPF_NOEXIST);
		state = bpf_map_lookup_elem(&SOCKETS, &id);
		if (!state)
			return 0;
	}
	__u64 write = move->write & 1;
	__sync_fetch_and_add(write ? &state->sent : &state->received, move->size);
	struct config *config = settings();
	if (!config)
		return 0;
	if (state->kind == SOCKET_UDP) {
		struct address address = {};
		if (state->verdict != VERDICT_DNS && !state->silent && write) {
			if (move->name && port_of(move->name, &address) == DNS_PORT)
				state->verdict = VERDICT_DNS;
			else if (++state->looks >= LOOKS)
				state->silent = 1;
		}
		if (!state->told && config->capture & (CAPTURE_NETWORK | CAPTURE_DNS))
			tell(file, &id, state, move, thread);
		if (state->verdict != VERDICT_DNS || state->silent || !(config->capture & CAPTURE_DNS))
			return 0;
		give(id.object, SOURCE_DNS, move->size);
		return 0;
	}
	if (state->kind == SOCKET_TCP && state->verdict == VERDICT_DNS) {
		if (!state->told)
			tell(file, &id, state, move, thread);
		if (config->capture & CAPTURE_DNS && !state->silent)
			give(id.object, SOURCE_DNS, move->size);
		return 0;
	}
	if (state->verdict == VERDICT_UNKNOWN && !state->silent)
		state->verdict = look(moving, state, write);
	state->last = write;
	if (!state->told && (state->kind == SOCKET_TCP || state->verdict != VERDICT_UNKNOWN))
		tell(file, &id, state, move, thread);
	__u32 verdict = state->verdict;
	if (state->kind != SOCKET_PIPE && verdict != VERDICT_RPC) {
		if (write)
			settle(moving, &id, state, thread);
		else if (verdict != VERDICT_HTTP)
			remember(id.object, thread);
	}
	if (state->silent || verdict == VERDICT_UNKNOWN)
		return 0;
	if (bpf_map_lookup_elem(&IGNORED, &id)) {
		state->silent = 1;
		return 0;
	}
	__u64 source = SOURCE_SOCKET, limit = move->size;
	if (verdict == VERDICT_HTTP) {
		if (!(config->capture & CAPTURE_HTTP))
			return 0;
		/* After CONNECT, or an upgrade. */
		if (write && beginning(6) == 6 && is_record(moving->head, 0x16) && moving->head[5] == 1)
			state->verdict = verdict = VERDICT_TLS;
	}
	if (verdict == VERDICT_TLS) {
		if (!(config->capture & CAPTURE_NETWORK))
			return 0;
		source = SOURCE_HANDSHAKE;
		limit = HANDSHAKE_SHORT;
		__u32 *told = write ? &state->handshakes[1] : &state->handshakes[0];
		if (*told < HANDSHAKES) {
			++*told;
			limit = HANDSHAKE_LONG;
		}
	} else if (verdict == VERDICT_RPC) {
		if (!(config->capture & CAPTURE_MCP))
			return 0;
		source = SOURCE_PIPE;
	}
	give(id.object, source, limit);
	return 0;
}
