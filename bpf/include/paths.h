/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Paths of files: the kernel's own, by a walk from the file up to the process's root directory, and those that a process
 * names. Both are written as texts behind an event. */
#ifndef ONLOOKER_PATHS_H
#define ONLOOKER_PATHS_H

#include "common.h"

/* Room for all texts of an event. */
#define TEXTS 8192
/* The longest text, and the longest name of a directory's entry with its end (include/uapi/linux/limits.h). */
#define TEXT 4096
#define ENTRY 256
/* Directories of a path: so many times so many. */
#define DEPTH 16

/* include/uapi/linux/fcntl.h */
#define AT_FDCWD ((__u64)-100)

/* The event under way. These programs run with preemption off, so one a processor is enough. */
struct telling_deed {
	/* The walk. */
	__u64 dentry;
	__u64 mnt;
	__u64 root;
	__u64 root_mnt;
	__u64 state; /* enum path_state */
	struct registers registers;
	__u64 at; /* bytes of texts */
	struct path_size sizes[2];
	/* Both end where the texts begin. */
	union {
		struct {
			__u8 unused[sizeof(struct security_event) - sizeof(struct file_event)];
			struct file_event event;
		};
		struct security_event security;
	};
	__u8 texts[TEXTS + TEXT]; /* more than may be filled, so that the verifier sees that no text can go beyond it */
};
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct telling_deed); } DEED SEC(".maps");

static __always_inline struct telling_deed *telling_deed(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&DEED, &zero);
}

static __always_inline struct telling_deed *begin_deed(void)
{
	struct telling_deed *deeds = telling_deed();
	if (!deeds)
		return 0;
	__builtin_memset(&deeds->security, 0, sizeof(deeds->security));
	__builtin_memset(deeds->sizes, 0, sizeof(deeds->sizes));
	deeds->at = 0;
	return deeds;
}

/* Copies an event into a room of constant size, because the ring wants one. The time is taken when the room is reserved: the
 * reader puts events in order by that. */
#define ROOM(RING, FROM, SIZE, TYPE, REASON)                                                                           \
	({                                                                                                             \
		struct event_header *room = bpf_ringbuf_reserve(RING, SIZE, 0);                                        \
		if (room) {                                                                                            \
			bpf_probe_read_kernel(room, SIZE, FROM);                                                       \
			fill_header(room, TYPE, size, thread >> 32, thread,                                            \
				    leader_start((struct task_struct *)bpf_get_current_task()));                       \
			bpf_ringbuf_submit(room, BPF_RB_NO_WAKEUP);                                                    \
		} else {                                                                                               \
			drop(REASON, 1);                                                                               \
		}                                                                                                      \
	})
#define TELL(RING, FROM, STRUCT, TYPE, BYTES, REASON)                                                                  \
	({                                                                                                             \
		__u64 size = BYTES;                                                                                    \
		if (size <= sizeof(STRUCT) + 96)                                                                       \
			ROOM(RING, FROM, sizeof(STRUCT) + 96, TYPE, REASON);                                           \
		else if (size <= sizeof(STRUCT) + 224)                                                                 \
			ROOM(RING, FROM, sizeof(STRUCT) + 224, TYPE, REASON);                                          \
		else if (size <= sizeof(STRUCT) + 992)                                                                 \
			ROOM(RING, FROM, sizeof(STRUCT) + 992, TYPE, REASON);                                          \
		else                                                                                                   \
			ROOM(RING, FROM, sizeof(STRUCT) + TEXTS, TYPE, REASON);                                        \
	})

/* One step of a walk upwards. 0: it is over. */
__attribute__((noinline)) int ascend(void)
{
	struct telling_deed *deeds = telling_deed();
	if (!deeds)
		return 0;
	struct dentry *dentry = (void *)deeds->dentry;
	struct vfsmount *vfsmnt = (void *)deeds->mnt;
	if (deeds->dentry == deeds->root && deeds->mnt == deeds->root_mnt) {
		deeds->state = PATH_WHOLE;
		return 0;
	}
	struct dentry *parent = BPF_CORE_READ(dentry, d_parent);
	if (dentry == BPF_CORE_READ(vfsmnt, mnt_root)) {
		/* The top of this mount: go on where it is mounted. */
		struct mount *mnt = (void *)vfsmnt - bpf_core_field_offset(struct mount, mnt);
		struct mount *above = BPF_CORE_READ(mnt, mnt_parent);
		if (above == mnt) {
			/* Beyond the process's root, or of a mount that is detached. */
			deeds->state = PATH_FOREIGN;
			return 0;
		}
		deeds->dentry = (__u64)BPF_CORE_READ(mnt, mnt_mountpoint);
		deeds->mnt = (__u64)above + bpf_core_field_offset(struct mount, mnt);
		return 1;
	}
	__u64 at = deeds->at;
	if (at > TEXTS - ENTRY)
		return 0;
	asm volatile("%[n] &= %[mask]" : [n] "+r"(at) : [mask] "i"(TEXTS - 1));
	__s64 size = bpf_probe_read_kernel_str(deeds->texts + at, ENTRY, BPF_CORE_READ(dentry, d_name.name));
	if (size <= 0)
		return 0;
	deeds->at += size;
	if (dentry == parent) {
		/* A file in memory: only a name, and no directory. */
		deeds->state = PATH_NAMELESS;
		return 0;
	}
	deeds->dentry = (__u64)parent;
	return 1;
}

/* Some steps. 0: it is over. In two loops, for the verifier goes through each round of one. */
__attribute__((noinline)) int ascend_far(void)
{
	for (int i = 0; i < DEPTH; i++) {
		if (!ascend())
			return 0;
	}
	return 1;
}

/* Writes the names from DEED's place upwards. Sizes and state go to the event's `which`th path. */
static __always_inline void walk(struct telling_deed *deeds, struct path *from, __u64 which)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct fs_struct *fs = BPF_CORE_READ(task, fs);
	__u64 begin = deeds->at;
	deeds->root = (__u64)BPF_CORE_READ(fs, root.dentry);
	deeds->root_mnt = (__u64)BPF_CORE_READ(fs, root.mnt);
	deeds->dentry = (__u64)BPF_CORE_READ(from, dentry);
	deeds->mnt = (__u64)BPF_CORE_READ(from, mnt);
	deeds->state = PATH_CUT;
	for (int i = 0; i < DEPTH; i++) {
		if (!ascend_far())
			break;
	}
	struct path_size *size = which ? &deeds->sizes[1] : &deeds->sizes[0];
	size->names = deeds->at - begin;
	size->state = deeds->state;
}

/* The path of an open file. At the end of a process its root directory is still known. */
__attribute__((noinline)) int name_file(__u64 file, __u64 which)
{
	struct telling_deed *deeds = telling_deed();
	struct file *opened = (void *)file;
	if (!deeds)
		return 0;
	walk(deeds, &opened->f_path, which);
	return 0;
}

/* A text of the process. */
__attribute__((noinline)) int name_text(__u64 text, __u64 which)
{
	struct telling_deed *deeds = telling_deed();
	if (!deeds)
		return 0;
	struct path_size *path = which ? &deeds->sizes[1] : &deeds->sizes[0];
	__u64 at = deeds->at;
	if (at >= TEXTS) {
		path->state = PATH_CUT;
		return 0;
	}
	asm volatile("%[n] &= %[mask]" : [n] "+r"(at) : [mask] "i"(TEXTS - 1));
	__s64 size = bpf_probe_read_user_str(deeds->texts + at, TEXT, (void *)text);
	if (size <= 0) {
		path->state = PATH_UNREADABLE;
		return 0;
	}
	/* Never more than there is room for. */
	if (at + size > TEXTS) {
		size = TEXTS - at;
		path->state = PATH_CUT;
	}
	path->text = size;
	deeds->at = at + size;
	return 0;
}

/* The descriptor in a path that is /proc/self/fd/ and a number, and nothing else; -1: it is another path. */
static __always_inline __s64 named_descriptor(struct telling_deed *deeds, __u64 at)
{
	asm volatile("%[n] &= %[mask]" : [n] "+r"(at) : [mask] "i"(TEXTS - 1));
	const __u8 *text = deeds->texts + at;
	const char prefix[] = {'/', 'p', 'r', 'o', 'c', '/', 's', 'e', 'l', 'f', '/', 'f', 'd', '/'};
	for (int i = 0; i < sizeof(prefix); i++) {
		if (text[i] != prefix[i])
			return -1;
	}
	__u64 number = 0;
	for (int i = 0; i < 8; i++) {
		__u8 digit = text[sizeof(prefix) + i];
		if (!digit && i)
			return number;
		if (digit < '0' || digit > '9')
			return -1;
		number = number * 10 + digit - '0';
	}
	return -1;
}

/* A path that a process names, and where it starts. One that names a descriptor is told as what that is. */
__attribute__((noinline)) int name_path(__u64 directory, __u64 text, __u64 which)
{
	struct telling_deed *deeds = telling_deed();
	if (!deeds)
		return 0;
	char first = 0;
	struct path_size *path = which ? &deeds->sizes[1] : &deeds->sizes[0];
	if (text)
		bpf_probe_read_user(&first, 1, (void *)text);
	if (first == '/') {
		path->state = PATH_WHOLE;
	} else if ((__u32)directory == (__u32)AT_FDCWD) {
		struct task_struct *task = (void *)bpf_get_current_task();
		struct fs_struct *fs = BPF_CORE_READ(task, fs);
		walk(deeds, &fs->pwd, which);
	} else {
		struct file *file = file_of(directory);
		if (file)
			walk(deeds, &file->f_path, which);
		else
			path->state = PATH_UNREADABLE;
	}
	__u64 at = deeds->at;
	if (text)
		name_text(text, which);
	if (first == '/' && path->text && at < TEXTS) {
		__s64 fd = named_descriptor(deeds, at);
		struct file *file = fd < 0 ? 0 : file_of(fd);
		if (file) {
			deeds->at = at;
			path->text = 0;
			name_file((__u64)file, which);
		}
	}
	return 0;
}

#endif
