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
	EVENT_NETWORK = 10,
	EVENT_FILE = 11,
	EVENT_SECURITY = 12,
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
	__u64 inode;          /* of the program's file, as the kernel names it */
	__u32 dev;            /* major << 20 | minor */
	__u32 pad;
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
	__u32 received; /* 1: the first that moved was received */
	__u32 pad;
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

enum network_action {
	NETWORK_CONNECT = 0, /* the outcome of a connect is known */
	NETWORK_CLOSE = 1,   /* a TCP connection is over that was told before */
	NETWORK_LISTEN = 2,
	NETWORK_ACCEPT = 3,
};

#define NETWORK_PATH_SIZE 112
/* No errno: the process closed the socket before there was an outcome. */
#define NETWORK_ABORTED (-1)

/* A connection, or a place where some are accepted. Addresses as in struct socket_event. */
struct network_event {
	struct event_header header;
	__u64 socket; /* inode */
	__u64 began;  /* when it was asked for, or accepted; bpf_ktime_get_boot_ns */
	__u64 sent;     /* bytes of the whole connection, of NETWORK_CLOSE */
	__u64 received;
	__u8 local[16];
	__u8 peer[16];
	__u32 local_port;
	__u32 peer_port;
	__u32 action;   /* enum network_action */
	__s32 error;    /* errno; 0: none; NETWORK_ABORTED */
	__u32 backlog;  /* of NETWORK_LISTEN */
	__u16 family;   /* AF_UNIX, AF_INET, AF_INET6 */
	__u16 type;     /* SOCK_STREAM … */
	__u32 protocol; /* IPPROTO_TCP … */
	__u32 path_size; /* bytes of the path that follows: AF_UNIX only */
};

/* Of AF_UNIX. The name in the file system, maybe with a NUL at its end; or, with a NUL at its beginning, an abstract one. */
struct local_network_event {
	struct network_event event;
	char path[NETWORK_PATH_SIZE];
};

/* How much of a path is known. */
enum path_state {
	PATH_NONE = 0,
	PATH_WHOLE = 1,      /* up to the process's root directory, or an absolute name */
	PATH_CUT = 2,        /* deeper or longer than what is told */
	PATH_FOREIGN = 3,    /* its top is not below the process's root directory */
	PATH_NAMELESS = 4,   /* a file in memory: it has a name and no place */
	PATH_UNREADABLE = 5, /* what the process named cannot be read */
};

/* A path behind an event: names of directories from the nearest upwards, each with a NUL; then what the process named,
 * with a NUL. */
struct path_size {
	__u16 names; /* bytes of the names */
	__u16 text;  /* bytes of what was named */
	__u32 state; /* enum path_state, of the names if there are any */
};

enum file_deed {
	FILE_OPEN = 0, /* for writing; or it failed */
	FILE_USE = 1,  /* what was done with an open file since it was last told */
	FILE_CREATE = 2,
	FILE_DELETE = 3,
	FILE_RENAME = 4,
	FILE_LINK = 5,
	FILE_SYMLINK = 6,
	FILE_TRUNCATE = 7,
	FILE_CHMOD = 8,
	FILE_CHOWN = 9,
	FILE_MKDIR = 10,
	FILE_RMDIR = 11,
	FILE_SETXATTR = 12, /* the other text is the attribute's name */
	FILE_REMOVEXATTR = 13,
};

enum file_bits {
	FILE_CREATED = 1, /* the open made the file */
	FILE_OPENED = 2,  /* the open itself is among what is told */
	FILE_CLOSED = 4,  /* a descriptor of it was closed */
	FILE_MAPPED = 8,  /* it was mapped so that memory is written to it */
};

/* Followed by the texts of `path`, then those of `other`. */
struct file_event {
	struct event_header header;
	struct path_size path;
	struct path_size other; /* the new name; what a symbolic link points to; an attribute's name */
	__u64 read;
	__u64 written;
	__u64 length; /* FILE_TRUNCATE */
	__u64 began;  /* FILE_USE: since when it is counted */
	__u32 reads;
	__u32 writes;
	__u32 deed;  /* enum file_deed */
	__u32 error; /* errno */
	__u32 flags; /* O_…; FILE_RENAME: RENAME_… */
	__u32 mode;  /* i_mode, or what was asked for */
	__u32 uid;   /* FILE_CHOWN; -1: as it was */
	__u32 gid;
	__u32 bits; /* enum file_bits */
	__u32 pad;
};

/* In place of a system call's number: a file in memory was executed. */
#define CALL_MEMFD_EXEC 0xffffffff
/* Operations were given to an io_uring: which, and how many. */
#define CALL_RING 0xfffffffe

/* A system call, with the arguments and texts that matter for it. Begins as struct file_event does, and is followed by the
 * same texts. */
struct security_event {
	struct event_header header;
	struct path_size path;
	struct path_size other;
	__u64 arguments[4];
	__s64 result;
	__u64 old_capabilities;
	__u64 new_capabilities;
	__u32 old_ids[6]; /* user: real, effective, saved; group: the same */
	__u32 new_ids[6];
	__u32 call; /* its number */
	__u32 error; /* errno */
	__u32 level; /* of the PID namespace in which the arguments count processes; 0: the host's */
	__u32 pad;
	char text[32]; /* type of a file system, address of a socket, the first of some groups */
};

enum drop_reason {
	DROP_PAYLOAD_RING = 0,   /* chunks that the payload ring had no room for */
	DROP_PAYLOAD_BYTES = 1,  /* bytes in those chunks */
	DROP_LIFECYCLE_RING = 2, /* lifecycle events that their ring had no room for */
	DROP_FAULT = 3,          /* bytes that could not be read from the process */
	DROP_CALL_MAP = 4,       /* calls that the call map had no room for */
	DROP_TOO_LARGE = 5,      /* bytes beyond what one call can hand over */
	DROP_NETWORK_RING = 6,   /* events of connections that their ring had no room for */
	DROP_NETWORK_MAP = 7,    /* connections that their map had no room for */
	DROP_FILE_RING = 8,      /* events of files that their ring had no room for */
	DROP_FILE_MAP = 9,       /* reads and writes of files that their map had no room for */
	DROP_SECURITY_RING = 10, /* changes of rights and the like that their ring had no room for */
	DROP_CANDIDATE = 11,     /* events of candidates' files that gave way to those of watched processes */
	DROP_REASONS = 12,
};

enum scope {
	SCOPE_TREE = 0, /* only processes in the watched map */
	SCOPE_HOST = 1, /* every process but the excluded ones */
};

/* As long as it lives. */
#define LOOKBACK_ALWAYS (~0U)

struct config {
	__u32 self;           /* onlooker's own tgid: never seen */
	__u32 scope;
	__u32 watch_children; /* 1: what `self` forks is watched */
	__u32 capture;        /* CAPTURE_… */
	__u32 lookback;       /* for how long a candidate is treated as watched, ms; 0: there are none; LOOKBACK_ALWAYS */
};

/* What is taken from sockets and pipes. */
enum capture {
	CAPTURE_HTTP = 1,    /* HTTP */
	CAPTURE_MCP = 2,     /* JSON-RPC */
	CAPTURE_NETWORK = 4, /* TLS handshakes, connections */
	CAPTURE_DNS = 8,     /* look-ups of names */
	CAPTURE_FILE_READS = 16, /* files that are opened for reading only */
};

#endif
