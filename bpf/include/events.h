/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* The ABI between the probes and user space. All integers are in host byte order; no packed structs, padding is
 * explicit. `receiver/src/probes/abi.rs` decodes these by offset; a test compares the two by BTF. */
#ifndef ONLOOKER_EVENTS_H
#define ONLOOKER_EVENTS_H

#include <linux/types.h>

#define ARGS_SIZE 4096
#define FILENAME_SIZE 512
#define CWD_LEVELS 12
#define CWD_NAME_SIZE 128

enum event_type {
	EVENT_EXEC = 1,
	EVENT_FORK = 2,
	EVENT_EXIT = 3,
	EVENT_MAP = 4,
	EVENT_DATA = 5,
	EVENT_CLOSE = 6,
	EVENT_SOCKET = 7,
	EVENT_PAIR = 8,
	EVENT_SOCKET_CLOSE = 9,
};

/* Begins every event. */
struct event_header {
	__u32 type;
	__u32 tgid;
	__u64 time;  /* bpf_ktime_get_boot_ns */
	__u64 start; /* start_boottime of the thread group's leader */
	__u32 tid;
	__u32 size;  /* of the whole event, header included, without unused room */
};

struct exec_event {
	struct event_header header;
	__u64 parent_start;
	__u64 cgroup_id;
	__u32 parent_tgid;
	__u32 uid;
	__u32 gid;
	__u32 args_size;      /* bytes in args, at most ARGS_SIZE */
	__u32 args_truncated; /* 1 if there was more */
	__u32 cwd_state;      /* 1: every name up to the root is there, whole; 0: not */
	char filename[FILENAME_SIZE];
	/* Names from the working directory upwards; empty slots are mount crossings or unused. */
	char cwd[CWD_LEVELS][CWD_NAME_SIZE];
	char args[ARGS_SIZE]; /* NUL-separated */
};

struct fork_event {
	struct event_header header;
	__u64 child_start;
	__u32 child_tgid;
	__u32 pad;
};

struct exit_event {
	struct event_header header;
	__s32 code;
	__s32 signal;
};

struct map_event {
	struct event_header header;
	__u64 inode;
	__u32 dev; /* the kernel's dev_t: major << 20 | minor */
	__u32 pad;
};

/* Followed by `length` bytes of plaintext. */
struct data_event {
	struct event_header header;
	__u64 object;
	__u64 total;
	__u64 offset;
	__u32 length;
	__u32 write; /* 1: sent, 0: received */
	__u64 socket; /* inode of the socket that the thread received from before; 0: not known */
	__u32 source; /* enum source */
	__u32 pad;
};

/* Where bytes were seen. */
enum source {
	SOURCE_TLS = 0,       /* a TLS object with both directions */
	SOURCE_RECORD = 1,    /* one direction's record protection */
	SOURCE_SOCKET = 2,    /* HTTP on a socket; the object is the socket's inode, here and below */
	SOURCE_PIPE = 3,      /* JSON-RPC on a pipe or local socket */
	SOURCE_HANDSHAKE = 4, /* TLS on a socket: the beginning of a call only */
	SOURCE_DNS = 5,       /* a DNS message over UDP */
};

enum socket_kind {
	SOCKET_TCP = 0,
	SOCKET_UDP = 1,
	SOCKET_UNIX = 2,
	SOCKET_PIPE = 3,
};

/* First use of a socket or pipe by a watched process. Addresses are in network byte order, ports in host byte order. */
struct socket_event {
	struct event_header header;
	__u64 id;    /* inode */
	__u64 other; /* inode of the other end of a pair of local sockets; 0: not known */
	__u8 local[16];
	__u8 peer[16];
	__u32 kind;   /* enum socket_kind */
	__u32 family; /* AF_INET, AF_INET6; else 0 */
	__u32 local_port;
	__u32 peer_port;
};

/* A TLS object's records go through this socket. */
struct pair_event {
	struct event_header header;
	__u64 object;
	__u64 socket;
	__u32 write; /* the direction that it is known for */
	__u32 pad;
};

struct socket_close_event {
	struct event_header header;
	__u64 socket;
	__u64 sent;
	__u64 received;
};

struct close_event {
	struct event_header header;
	__u64 object;
};

enum drop_reason {
	DROP_PAYLOAD_RING = 0,   /* chunks that the payload ring had no room for */
	DROP_PAYLOAD_BYTES = 1,  /* bytes in those chunks */
	DROP_LIFECYCLE_RING = 2, /* lifecycle events that their ring had no room for */
	DROP_FAULT = 3,          /* bytes that could not be read from the process */
	DROP_CALL_MAP = 4,       /* calls that the call map had no room for */
	DROP_TOO_LARGE = 5,      /* bytes beyond what one call can hand over */
	DROP_REASONS = 6,
};

enum scope {
	SCOPE_TREE = 0, /* only processes in the watched map */
	SCOPE_HOST = 1, /* every process but the excluded ones */
};

struct config {
	__u32 self;           /* onlooker's own tgid: never seen */
	__u32 scope;
	__u32 watch_children; /* 1: what `self` forks is watched */
	__u32 capture;        /* CAPTURE_… */
};

/* What is taken from sockets and pipes. */
enum capture {
	CAPTURE_HTTP = 1,    /* HTTP */
	CAPTURE_MCP = 2,     /* JSON-RPC */
	CAPTURE_NETWORK = 4, /* TLS handshakes, DNS */
};

#endif
