/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Files of watched processes: what was opened, read, written, made, removed, renamed, and how it ended.
 *
 * All of it sits at the returns of system calls, where the outcome is known. Reads and writes are counted here, by process
 * and open file, and told when the file is closed, when the process ends or executes something, and once a second
 * meanwhile. A file that is open is named by the kernel's own path; what else a call names is told as it was
 * given, with the directory that it starts from.
 *
 * Comes after socket.bpf.c and calls.bpf.c. */
#include "include/paths.h"

/* include/uapi/asm-generic/fcntl.h */
#define O_ACCMODE 3
#define O_TRUNC 01000
#define O_PATH 010000000
/* include/linux/fs.h */
#define FMODE_CREATED 0x100000
/* include/uapi/linux/stat.h */
#define S_IFREG 0100000
#define S_IFBLK 0060000
#define S_IFCHR 0020000

/* How often an open file that is in use is told, in ns. */
#define TELL_EVERY 1000000000ULL
/* Descriptors that are looked at when a process ends: so many times so many. */
#define DESCRIPTORS 1024
#define BLOCKS 1024

/* include/uapi/asm-generic/mman-common.h, include/uapi/linux/mman.h: MAP_SHARED is a bit of MAP_SHARED_VALIDATE */
#define PROT_WRITE 0x2
#define MAP_SHARED 0x1

struct open_file {
	__u64 file;
	__u32 tgid;
	__u32 pad;
};

/* What a process did with an open file since it was last told. */
struct file_use {
	__u64 read;
	__u64 written;
	__u64 began;
	__u64 told; /* when it was last told; 0: never */
	__u32 reads;
	__u32 writes;
	__u32 flags;
	__u32 bits; /* enum file_bits, not told yet */
};
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 65536); __uint(map_flags, BPF_F_NO_PREALLOC); __type(key, struct open_file); __type(value, struct file_use); } OPEN_FILES SEC(".maps");

/* How many entries of OPEN_FILES a process has. */
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 65536); __uint(map_flags, BPF_F_NO_PREALLOC); __type(key, __u32); __type(value, __u64); } HOLDERS SEC(".maps");

static __always_inline void hold(__u32 tgid, __u64 change)
{
	__u64 *count = bpf_map_lookup_elem(&HOLDERS, &tgid);
	if (count)
		__sync_fetch_and_add(count, change);
	else if (change == 1)
		bpf_map_update_elem(&HOLDERS, &tgid, &change, BPF_ANY);
}

/* The event under way goes out. Global functions take numbers only, and are looked at by the verifier once. */
__attribute__((noinline)) int tell_file(__u64 deed)
{
	struct telling_deed *deeds = telling_deed();
	if (!deeds)
		return 0;
	__u64 thread = bpf_get_current_pid_tgid();
	/* Half of the ring is for those that are watched. */
	if (bpf_ringbuf_query(&FILES, BPF_RB_AVAIL_DATA) > FILES_SIZE / 2 && candidate(thread >> 32)) {
		drop(DROP_CANDIDATE, 1);
		return 0;
	}
	deeds->event.deed = deed;
	deeds->event.path = deeds->sizes[0];
	deeds->event.other = deeds->sizes[1];
	TELL(&FILES, &deeds->event, struct file_event, EVENT_FILE, sizeof(struct file_event) + deeds->at, DROP_FILE_RING);
	return 0;
}

/* Tells what was done with an open file, and begins to count anew. */
__attribute__((noinline)) int tell_use(__u64 file, __u64 closed)
{
	struct open_file key = {.file = file, .tgid = bpf_get_current_pid_tgid() >> 32};
	struct file_use *use = bpf_map_lookup_elem(&OPEN_FILES, &key);
	struct telling_deed *deeds = begin_deed();
	if (!use || !deeds)
		return 0;
	struct file *opened = (void *)file;
	struct file_event *event = &deeds->event;
	event->flags = use->flags;
	event->mode = BPF_CORE_READ(opened, f_inode, i_mode);
	event->read = use->read;
	event->written = use->written;
	event->reads = use->reads;
	event->writes = use->writes;
	event->began = use->began;
	event->bits = (closed ? FILE_CLOSED : 0) | use->bits;
	use->read = use->written = 0;
	use->reads = use->writes = 0;
	use->bits = 0;
	use->told = use->began = bpf_ktime_get_boot_ns();
	name_file(file, 0);
	return tell_file(FILE_USE);
}

/* A process opened a file, or uses one that it got in another way. 0: there is no room for it. */
static __always_inline struct file_use *begin_use(struct open_file *key, __u32 flags, __u32 bits)
{
	struct file_use fresh = {.flags = flags, .bits = bits, .began = bpf_ktime_get_boot_ns()};
	fresh.told = fresh.began;
	if (bpf_map_update_elem(&OPEN_FILES, key, &fresh, BPF_NOEXIST) == 0)
		hold(key->tgid, 1);
	return bpf_map_lookup_elem(&OPEN_FILES, key);
}

/* A file's descriptor is about to go. */
static __always_inline void end_use(struct file *file)
{
	struct open_file key = {.file = (__u64)file, .tgid = bpf_get_current_pid_tgid() >> 32};
	if (!file || !bpf_map_lookup_elem(&OPEN_FILES, &key))
		return;
	tell_use((__u64)file, 1);
	bpf_map_delete_elem(&OPEN_FILES, &key);
	hold(key.tgid, -1);
}

static __always_inline int reads_wanted(void)
{
	struct config *config = settings();
	return config && config->capture & CAPTURE_FILE_READS;
}

/* How a file is used. */
#define USE_READ 0
#define USE_WRITE 1
#define USE_MAP 2

/* Bytes went to or from an open file, or will. */
__attribute__((noinline)) int used(__u64 fd, __u64 how, __u64 bytes)
{
	struct file *file = file_of(fd);
	if (!file || (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFREG)
		return 0;
	struct open_file key = {.file = (__u64)file, .tgid = bpf_get_current_pid_tgid() >> 32};
	struct file_use *use = bpf_map_lookup_elem(&OPEN_FILES, &key);
	if (!use) {
		__u32 flags = BPF_CORE_READ(file, f_flags);
		if (how == USE_READ && !(flags & O_ACCMODE) && !reads_wanted())
			return 0;
		use = begin_use(&key, flags, 0);
		if (!use) {
			drop(DROP_FILE_MAP, 1);
			return 0;
		}
	}
	if (how == USE_MAP) {
		use->bits |= FILE_MAPPED;
	} else if (how == USE_WRITE) {
		__sync_fetch_and_add(&use->written, bytes);
		__sync_fetch_and_add(&use->writes, 1);
	} else {
		__sync_fetch_and_add(&use->read, bytes);
		__sync_fetch_and_add(&use->reads, 1);
	}
	if (bpf_ktime_get_boot_ns() - use->told > TELL_EVERY)
		tell_use((__u64)file, 0);
	return 0;
}

/* One descriptor of the process. */
__attribute__((noinline)) int end_descriptor(__u64 fd)
{
	end_use(file_of(fd));
	return 0;
}

/* Descriptors from one on. 0: there are no more, or no open files that are counted. */
__attribute__((noinline)) int end_block(__u64 from)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	struct task_struct *task = (void *)bpf_get_current_task();
	__u64 *count = bpf_map_lookup_elem(&HOLDERS, &tgid);
	__u64 most = BPF_CORE_READ(task, files, fdt, max_fds);
	if (!count)
		return 0;
	for (__u64 fd = 0; fd < DESCRIPTORS; fd++) {
		if (*(volatile __u64 *)count - 1 >= 1ULL << 32 || from + fd >= most)
			return 0;
		end_descriptor(from + fd);
	}
	return 1;
}

/* All descriptors of the process, as long as it has open files that are counted. Global functions again, because the loops
 * would end in their own beginning. */
__attribute__((noinline)) int end_all(void)
{
	for (__u64 block = 0; block < BLOCKS; block++) {
		if (!end_block(block * DESCRIPTORS))
			break;
	}
	return 0;
}

/* The arguments of the call under way. */
static __always_inline struct telling_deed *deed_of(__u64 *ctx)
{
	struct telling_deed *deeds = begin_deed();
	if (!deeds || bpf_probe_read_kernel(&deeds->registers, sizeof(deeds->registers), (void *)ctx[0]))
		return 0;
	__s64 result = deeds->registers.ax;
	deeds->event.error = result < 0 && result >= -4095 ? -result : 0;
	return deeds;
}

static __always_inline int opened(__u64 *ctx, __u64 directory, __u64 name, __u64 flags, struct telling_deed *deeds)
{
	struct file_event *event = &deeds->event;
	int changes = flags & (O_ACCMODE | O_TRUNC) ? 1 : 0;
	event->flags = flags;
	if (event->error) {
		if (!changes && !reads_wanted())
			return 0;
		name_path(directory, name, 0);
		return tell_file(FILE_OPEN);
	}
	struct file *file = file_of(deeds->registers.ax);
	if (!file || flags & O_PATH)
		return 0;
	__u32 mode = BPF_CORE_READ(file, f_inode, i_mode);
	__u32 kind = mode & S_IFMT;
	if (kind != S_IFREG && kind != S_IFBLK && kind != S_IFCHR)
		return 0;
	__u32 created = BPF_CORE_READ(file, f_mode) & FMODE_CREATED;
	changes |= created ? 1 : 0;
	if (!changes && !reads_wanted())
		return 0;
	if (kind == S_IFREG) {
		/* The same address, and no close was seen: another file. */
		struct open_file key = {.file = (__u64)file, .tgid = bpf_get_current_pid_tgid() >> 32};
		if (bpf_map_delete_elem(&OPEN_FILES, &key) == 0)
			hold(key.tgid, -1);
		int counted = begin_use(&key, flags, changes ? 0 : FILE_OPENED) != 0;
		if (counted && !changes)
			return 0; /* told when it is closed */
	}
	event->mode = mode;
	event->bits = FILE_OPENED | (created ? FILE_CREATED : 0);
	name_file((__u64)file, 0);
	return tell_file(FILE_OPEN);
}

SEC("raw_tp/sys_exit")
int file_open(__u64 *ctx)
{
	struct telling_deed *deeds = deed_of(ctx);
	if (!deeds)
		return 0;
	return opened(ctx, AT_FDCWD, deeds->registers.di, deeds->registers.si, deeds);
}

SEC("raw_tp/sys_exit")
int file_openat(__u64 *ctx)
{
	struct telling_deed *deeds = deed_of(ctx);
	if (!deeds)
		return 0;
	return opened(ctx, deeds->registers.di, deeds->registers.si, deeds->registers.dx, deeds);
}

SEC("raw_tp/sys_exit")
int file_openat2(__u64 *ctx)
{
	struct telling_deed *deeds = deed_of(ctx);
	__u64 flags = 0; /* begins struct open_how, include/uapi/linux/openat2.h */
	if (!deeds || bpf_probe_read_user(&flags, sizeof(flags), (void *)deeds->registers.dx))
		return 0;
	return opened(ctx, deeds->registers.di, deeds->registers.si, flags, deeds);
}

SEC("raw_tp/sys_exit")
int file_creat(__u64 *ctx)
{
	struct telling_deed *deeds = deed_of(ctx);
	if (!deeds)
		return 0;
	return opened(ctx, AT_FDCWD, deeds->registers.di, 01101 /* O_CREAT | O_WRONLY | O_TRUNC, as fs/open.c has it */, deeds);
}

/* The directory of the mount, the handle, the flags. What cannot be opened is told as something of that mount. */
SEC("raw_tp/sys_exit")
int file_open_handle(__u64 *ctx)
{
	struct telling_deed *deeds = deed_of(ctx);
	if (!deeds)
		return 0;
	return opened(ctx, deeds->registers.di, 0, deeds->registers.dx, deeds);
}

/* fallocate: room was made in a file, or taken from it. */
SEC("raw_tp/sys_exit")
int file_allocate(__u64 *ctx)
{
	struct registers *registers = (void *)ctx[0];
	__u64 fd = 0;
	if ((__s64)ctx[1] < 0 || bpf_probe_read_kernel(&fd, sizeof(fd), &registers->di))
		return 0;
	return used((__u32)fd, USE_WRITE, 0);
}

/* mmap: what is written to the memory goes to the file, unseen. */
SEC("raw_tp/sys_exit")
int file_map_shared(__u64 *ctx)
{
	struct registers *registers = (void *)ctx[0];
	__u64 fd = 0, protection = 0, flags = 0;
	if ((__s64)ctx[1] < 0 && (__s64)ctx[1] >= -4095)
		return 0;
	if (bpf_probe_read_kernel(&protection, sizeof(protection), &registers->dx) || !(protection & PROT_WRITE) ||
	    bpf_probe_read_kernel(&flags, sizeof(flags), &registers->r10) || !(flags & MAP_SHARED) ||
	    bpf_probe_read_kernel(&fd, sizeof(fd), &registers->r8) || (__s32)fd < 0)
		return 0;
	return used((__u32)fd, USE_MAP, 0);
}

/* read, pread64, readv, preadv, preadv2 */
SEC("raw_tp/sys_exit")
int file_read(__u64 *ctx)
{
	struct registers *registers = (void *)ctx[0];
	__u64 fd = 0;
	__s64 result = ctx[1];
	if (result < 0 || bpf_probe_read_kernel(&fd, sizeof(fd), &registers->di))
		return 0;
	return used((__u32)fd, 0, result);
}

/* write, pwrite64, writev, pwritev, pwritev2 */
SEC("raw_tp/sys_exit")
int file_write(__u64 *ctx)
{
	struct registers *registers = (void *)ctx[0];
	__u64 fd = 0;
	__s64 result = ctx[1];
	if (result < 0 || bpf_probe_read_kernel(&fd, sizeof(fd), &registers->di))
		return 0;
	return used((__u32)fd, 1, result);
}

/* sendfile: to, from */
SEC("raw_tp/sys_exit")
int file_sendfile(__u64 *ctx)
{
	struct registers *registers = (void *)ctx[0];
	__u64 to = 0, from = 0;
	__s64 result = ctx[1];
	if (result <= 0 || bpf_probe_read_kernel(&to, sizeof(to), &registers->di) || bpf_probe_read_kernel(&from, sizeof(from), &registers->si))
		return 0;
	used((__u32)from, 0, result);
	return used((__u32)to, 1, result);
}

/* copy_file_range, splice: from, its place, to */
SEC("raw_tp/sys_exit")
int file_copy(__u64 *ctx)
{
	struct registers *registers = (void *)ctx[0];
	__u64 to = 0, from = 0;
	__s64 result = ctx[1];
	if (result <= 0 || bpf_probe_read_kernel(&from, sizeof(from), &registers->di) || bpf_probe_read_kernel(&to, sizeof(to), &registers->dx))
		return 0;
	used((__u32)from, 0, result);
	return used((__u32)to, 1, result);
}

/* close, at its entry; dup2 and dup3 close their second argument. */
SEC("raw_tp/sys_enter")
int file_close(__u64 *ctx)
{
	struct registers *registers = (void *)ctx[0];
	__u64 fd = 0;
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	if (!bpf_map_lookup_elem(&HOLDERS, &tgid) || bpf_probe_read_kernel(&fd, sizeof(fd), &registers->di))
		return 0;
	end_use(file_of(fd));
	return 0;
}

SEC("raw_tp/sys_enter")
int file_dup(__u64 *ctx)
{
	struct registers *registers = (void *)ctx[0];
	__u64 from = 0, to = 0;
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	if (!bpf_map_lookup_elem(&HOLDERS, &tgid) || bpf_probe_read_kernel(&from, sizeof(from), &registers->di) ||
	    bpf_probe_read_kernel(&to, sizeof(to), &registers->si))
		return 0;
	if ((__u32)from != (__u32)to)
		end_use(file_of(to));
	return 0;
}

/* execve, execveat, close_range: what is not closed by them is counted anew. */
SEC("raw_tp/sys_enter")
int file_end_all(__u64 *ctx)
{
	return end_all();
}

SEC("raw_tp/sched_process_exit")
int file_exit(__u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];
	__u32 tgid = BPF_CORE_READ(task, tgid);
	if (!bpf_map_lookup_elem(&HOLDERS, &tgid))
		return 0;
	struct signal_struct *signal = BPF_CORE_READ(task, signal);
	if (BPF_CORE_READ(signal, live.counter) != 0)
		return 0;
	end_all();
	bpf_map_delete_elem(&HOLDERS, &tgid);
	return 0;
}

/* A call that names one file. */
static __always_inline int named(__u64 *ctx, __u64 deed, int at, __u64 mode_at)
{
	struct telling_deed *deeds = deed_of(ctx);
	if (!deeds)
		return 0;
	struct registers *registers = &deeds->registers;
	if (mode_at)
		deeds->event.mode = mode_at == 1 ? registers->si : registers->dx;
	if (at)
		name_path(registers->di, registers->si, 0);
	else
		name_path(AT_FDCWD, registers->di, 0);
	return tell_file(deed);
}

SEC("raw_tp/sys_exit")
int file_unlink(__u64 *ctx)
{
	return named(ctx, FILE_DELETE, 0, 0);
}

SEC("raw_tp/sys_exit")
int file_unlinkat(__u64 *ctx)
{
	struct registers *registers = (void *)ctx[0];
	__u64 flags = 0;
	if (bpf_probe_read_kernel(&flags, sizeof(flags), &registers->dx))
		return 0;
	return named(ctx, flags & 0x200 /* AT_REMOVEDIR */ ? FILE_RMDIR : FILE_DELETE, 1, 0);
}

SEC("raw_tp/sys_exit")
int file_rmdir(__u64 *ctx)
{
	return named(ctx, FILE_RMDIR, 0, 0);
}

SEC("raw_tp/sys_exit")
int file_mkdir(__u64 *ctx)
{
	return named(ctx, FILE_MKDIR, 0, 1);
}

SEC("raw_tp/sys_exit")
int file_mkdirat(__u64 *ctx)
{
	return named(ctx, FILE_MKDIR, 1, 2);
}

SEC("raw_tp/sys_exit")
int file_mknod(__u64 *ctx)
{
	return named(ctx, FILE_CREATE, 0, 1);
}

SEC("raw_tp/sys_exit")
int file_mknodat(__u64 *ctx)
{
	return named(ctx, FILE_CREATE, 1, 2);
}

SEC("raw_tp/sys_exit")
int file_chmod(__u64 *ctx)
{
	return named(ctx, FILE_CHMOD, 0, 1);
}

/* fchmodat, fchmodat2 */
SEC("raw_tp/sys_exit")
int file_chmodat(__u64 *ctx)
{
	return named(ctx, FILE_CHMOD, 1, 2);
}

static __always_inline int owned(__u64 *ctx, int at)
{
	struct telling_deed *deeds = deed_of(ctx);
	if (!deeds)
		return 0;
	struct registers *registers = &deeds->registers;
	deeds->event.uid = at ? registers->dx : registers->si;
	deeds->event.gid = at ? registers->r10 : registers->dx;
	if (at)
		name_path(registers->di, registers->si, 0);
	else
		name_path(AT_FDCWD, registers->di, 0);
	return tell_file(FILE_CHOWN);
}

/* chown, lchown */
SEC("raw_tp/sys_exit")
int file_chown(__u64 *ctx)
{
	return owned(ctx, 0);
}

SEC("raw_tp/sys_exit")
int file_chownat(__u64 *ctx)
{
	return owned(ctx, 1);
}

SEC("raw_tp/sys_exit")
int file_truncate(__u64 *ctx)
{
	struct telling_deed *deeds = deed_of(ctx);
	if (!deeds)
		return 0;
	deeds->event.length = deeds->registers.si;
	name_path(AT_FDCWD, deeds->registers.di, 0);
	return tell_file(FILE_TRUNCATE);
}

/* A call on an open file: ftruncate, fchmod, fchown. */
static __always_inline int on_descriptor(__u64 *ctx, __u64 deed)
{
	struct telling_deed *deeds = deed_of(ctx);
	if (!deeds)
		return 0;
	struct registers *registers = &deeds->registers;
	struct file *file = file_of(registers->di);
	if (!file)
		return 0;
	__u32 kind = BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT;
	if (kind == S_IFSOCK || kind == S_IFIFO)
		return 0;
	if (deed == FILE_TRUNCATE)
		deeds->event.length = registers->si;
	else if (deed == FILE_CHMOD)
		deeds->event.mode = registers->si;
	else {
		deeds->event.uid = registers->si;
		deeds->event.gid = registers->dx;
	}
	name_file((__u64)file, 0);
	return tell_file(deed);
}

SEC("raw_tp/sys_exit")
int file_ftruncate(__u64 *ctx)
{
	return on_descriptor(ctx, FILE_TRUNCATE);
}

SEC("raw_tp/sys_exit")
int file_fchmod(__u64 *ctx)
{
	return on_descriptor(ctx, FILE_CHMOD);
}

SEC("raw_tp/sys_exit")
int file_fchown(__u64 *ctx)
{
	return on_descriptor(ctx, FILE_CHOWN);
}

/* A call that names two files. */
static __always_inline int named_twice(__u64 *ctx, __u64 deed, int at)
{
	struct telling_deed *deeds = deed_of(ctx);
	if (!deeds)
		return 0;
	struct registers *registers = &deeds->registers;
	if (at) {
		name_path(registers->di, registers->si, 0);
		name_path(registers->dx, registers->r10, 1);
	} else {
		name_path(AT_FDCWD, registers->di, 0);
		name_path(AT_FDCWD, registers->si, 1);
	}
	return tell_file(deed);
}

SEC("raw_tp/sys_exit")
int file_rename(__u64 *ctx)
{
	return named_twice(ctx, FILE_RENAME, 0);
}

SEC("raw_tp/sys_exit")
int file_renameat(__u64 *ctx)
{
	return named_twice(ctx, FILE_RENAME, 1);
}

/* The same, with flags. */
SEC("raw_tp/sys_exit")
int file_renameat2(__u64 *ctx)
{
	struct telling_deed *deeds = deed_of(ctx);
	if (!deeds)
		return 0;
	struct registers *registers = &deeds->registers;
	deeds->event.flags = registers->r8;
	name_path(registers->di, registers->si, 0);
	name_path(registers->dx, registers->r10, 1);
	return tell_file(FILE_RENAME);
}

SEC("raw_tp/sys_exit")
int file_link(__u64 *ctx)
{
	return named_twice(ctx, FILE_LINK, 0);
}

SEC("raw_tp/sys_exit")
int file_linkat(__u64 *ctx)
{
	return named_twice(ctx, FILE_LINK, 1);
}

/* symlink: what it points to, and its own name. */
SEC("raw_tp/sys_exit")
int file_symlink(__u64 *ctx)
{
	struct telling_deed *deeds = deed_of(ctx);
	if (!deeds)
		return 0;
	name_path(AT_FDCWD, deeds->registers.si, 0);
	name_text(deeds->registers.di, 1);
	return tell_file(FILE_SYMLINK);
}

SEC("raw_tp/sys_exit")
int file_symlinkat(__u64 *ctx)
{
	struct telling_deed *deeds = deed_of(ctx);
	if (!deeds)
		return 0;
	name_path(deeds->registers.si, deeds->registers.dx, 0);
	name_text(deeds->registers.di, 1);
	return tell_file(FILE_SYMLINK);
}

/* The eight bytes of a text as they are read from memory on this machine. */
#define LONG(text) ((__u64)WORD(text[0], text[1], text[2], text[3]) | (__u64)WORD(text[4], text[5], text[6], text[7]) << 32)

/* Attributes that give rights: capabilities and labels, access lists. A program's own ("user.…") are not told. */
static __always_inline int is_right(__u64 name)
{
	__u64 first = 0;
	if (bpf_probe_read_user(&first, sizeof(first), (void *)name))
		return 0;
	return first == LONG("security") || first == LONG("trusted.") || first == LONG("system.p");
}

static __always_inline int attribute(__u64 *ctx, __u64 deed, int at, int descriptor)
{
	struct telling_deed *deeds = deed_of(ctx);
	if (!deeds)
		return 0;
	struct registers *registers = &deeds->registers;
	__u64 name = at ? registers->r10 : registers->si;
	if (!is_right(name))
		return 0;
	if (at) {
		name_path(registers->di, registers->si, 0);
	} else if (descriptor) {
		struct file *file = file_of(registers->di);
		if (!file)
			return 0;
		name_file((__u64)file, 0);
	} else {
		name_path(AT_FDCWD, registers->di, 0);
	}
	name_text(name, 1);
	return tell_file(deed);
}

/* setxattr, lsetxattr */
SEC("raw_tp/sys_exit")
int file_setxattr(__u64 *ctx)
{
	return attribute(ctx, FILE_SETXATTR, 0, 0);
}

SEC("raw_tp/sys_exit")
int file_fsetxattr(__u64 *ctx)
{
	return attribute(ctx, FILE_SETXATTR, 0, 1);
}

SEC("raw_tp/sys_exit")
int file_setxattrat(__u64 *ctx)
{
	return attribute(ctx, FILE_SETXATTR, 1, 0);
}

/* removexattr, lremovexattr */
SEC("raw_tp/sys_exit")
int file_removexattr(__u64 *ctx)
{
	return attribute(ctx, FILE_REMOVEXATTR, 0, 0);
}

SEC("raw_tp/sys_exit")
int file_fremovexattr(__u64 *ctx)
{
	return attribute(ctx, FILE_REMOVEXATTR, 0, 1);
}

SEC("raw_tp/sys_exit")
int file_removexattrat(__u64 *ctx)
{
	return attribute(ctx, FILE_REMOVEXATTR, 1, 0);
}
