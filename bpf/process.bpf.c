/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Processes: exec, fork, exit, and the files that they map executable. */
#include "include/common.h"

/* include/linux/sched/signal.h */
#define SIGNAL_GROUP_EXIT 0x4
/* include/uapi/asm-generic/mman-common.h */
#define PROT_EXEC 0x4

struct file_id {
	__u64 inode;
	__u32 dev;
	__u32 pad;
};

/* Programs that are likely to become agents, as user space has found out. */
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, 4096); __type(key, struct file_id); __type(value, __u8); } CANDIDATES SEC(".maps");

/* Programs of which user space knows that nothing in them is to be attached to, and that they are no agents: whoever executes
 * one wakes nobody. Empty where rules decide who is watched. */
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, 4096); __type(key, struct file_id); __type(value, __u8); } ORDINARY SEC(".maps");

/* How an event is given that can wait for the reader's next round. */
static __always_inline __u64 waiting(void)
{
	return reader_sleeps() ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
}

/* A program begins: if it is likely to become an agent, its process counts as watched for a while. Not inlined, and never
 * over what user space wrote: a process that is watched stays so. */
static __attribute__((noinline)) int consider(__u64 inode, __u32 dev, __u32 tgid, __u64 start)
{
	struct config *config = settings();
	struct file_id program = {.inode = inode, .dev = dev};
	if (!config || !config->lookback || !bpf_map_lookup_elem(&CANDIDATES, &program))
		return 0;
	struct watch watch = {.start = start, .until = ~0ULL};
	if (config->lookback != LOOKBACK_ALWAYS)
		watch.until = bpf_ktime_get_boot_ns() + (__u64)config->lookback * 1000000;
	struct watch *known = bpf_map_lookup_elem(&WATCHED, &tgid);
	if (!known)
		bpf_map_update_elem(&WATCHED, &tgid, &watch, BPF_NOEXIST);
	else if (known->until)
		known->until = watch.until;
	return 0;
}

/* One slot a level: a moving index into the event makes old verifiers give up. */
static __always_inline void read_cwd(struct task_struct *task, struct exec_event *event)
{
	struct fs_struct *fs = BPF_CORE_READ(task, fs);
	struct dentry *root = BPF_CORE_READ(fs, root.dentry);
	struct vfsmount *root_mnt = BPF_CORE_READ(fs, root.mnt);
	struct dentry *dentry = BPF_CORE_READ(fs, pwd.dentry);
	struct vfsmount *vfsmnt = BPF_CORE_READ(fs, pwd.mnt);
	int done = 0, cut = 0;

#pragma unroll
	for (int i = 0; i < CWD_LEVELS; i++) {
		event->cwd[i][0] = 0;
		if (done)
			continue;
		if (dentry == root && vfsmnt == root_mnt) {
			done = 1;
			continue;
		}
		struct dentry *parent = BPF_CORE_READ(dentry, d_parent);
		if (dentry == BPF_CORE_READ(vfsmnt, mnt_root) || dentry == parent) {
			/* The top of this mount: go on where it is mounted. */
			struct mount *mnt = (void *)vfsmnt - bpf_core_field_offset(struct mount, mnt);
			struct mount *above = BPF_CORE_READ(mnt, mnt_parent);
			if (above == mnt) {
				done = 1;
				continue;
			}
			dentry = BPF_CORE_READ(mnt, mnt_mountpoint);
			vfsmnt = (void *)above + bpf_core_field_offset(struct mount, mnt);
			continue;
		}
		const unsigned char *name = BPF_CORE_READ(dentry, d_name.name);
		/* A name that fills its slot may be longer: the path would be wrong. */
		if (bpf_probe_read_kernel_str(event->cwd[i], CWD_NAME_SIZE, name) >= CWD_NAME_SIZE)
			cut = 1;
		dentry = parent;
	}
	if (dentry == root && vfsmnt == root_mnt)
		done = 1;
	event->cwd_state = done && !cut;
}

SEC("raw_tp/sched_process_exec")
int process_exec(__u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];
	struct linux_binprm *bprm = (void *)ctx[2];
	__u32 tgid = BPF_CORE_READ(task, tgid);

	if (!wanted(tgid))
		return 0;
	struct inode *inode = BPF_CORE_READ(bprm, file, f_inode);
	__u64 number = BPF_CORE_READ(inode, i_ino);
	__u32 dev = BPF_CORE_READ(inode, i_sb, s_dev);
	consider(number, dev, tgid, leader_start(task));
	struct exec_event *event = bpf_ringbuf_reserve(&LIFECYCLE, sizeof(*event), 0);
	if (!event) {
		drop(DROP_LIFECYCLE_RING, 1);
		return 0;
	}
	event->inode = number;
	event->dev = dev;
	event->pad = 0;
	struct task_struct *parent = BPF_CORE_READ(task, real_parent);
	event->parent_tgid = BPF_CORE_READ(parent, tgid);
	event->parent_start = leader_start(parent);
	event->cgroup_id = bpf_get_current_cgroup_id();
	event->uid = BPF_CORE_READ(task, cred, euid.val);
	event->gid = BPF_CORE_READ(task, cred, egid.val);
	event->filename[0] = 0;
	bpf_probe_read_kernel_str(event->filename, FILENAME_SIZE, BPF_CORE_READ(bprm, filename));

	__u64 from = BPF_CORE_READ(task, mm, arg_start);
	__u64 to = BPF_CORE_READ(task, mm, arg_end);
	__u64 size = to > from ? to - from : 0;
	event->args_truncated = size > ARGS_SIZE;
	if (size > ARGS_SIZE)
		size = ARGS_SIZE;
	/* Verifiers up to 6.12 lose the bound above. */
	asm volatile("if %[size] <= 4096 goto +1; %[size] = 4096" : [size] "+r"(size));
	if (size > 0 && bpf_probe_read_user(event->args, size, (void *)from)) {
		drop(DROP_FAULT, size);
		size = 0;
	}
	event->args_size = size;
	read_cwd(task, event);
	/* Of others the reader is to learn while they still are what they were executed as. */
	struct file_id program = {.inode = number, .dev = dev};
	int ordinary = bpf_map_lookup_elem(&ORDINARY, &program) && !watched(tgid);
	fill_header(&event->header, EVENT_EXEC, sizeof(*event), tgid, BPF_CORE_READ(task, pid), leader_start(task));
	bpf_ringbuf_submit(event, ordinary ? waiting() : BPF_RB_FORCE_WAKEUP);
	return 0;
}

/* User space may write a process down after its end: without this, the next process of that number would inherit it.
 * User space knows start times by clock tick only, hence the tolerance. */
static __always_inline void forget(void *map, __u32 tgid, __u64 start)
{
	__u64 *earlier = bpf_map_lookup_elem(map, &tgid);
	if (earlier && *earlier + 20000000 < start)
		bpf_map_delete_elem(map, &tgid);
}

SEC("raw_tp/sched_process_fork")
int process_fork(__u64 *ctx)
{
	struct task_struct *parent = (void *)ctx[0];
	struct task_struct *child = (void *)ctx[1];
	__u32 tgid = BPF_CORE_READ(parent, tgid);
	__u32 child_tgid = BPF_CORE_READ(child, tgid);

	if (BPF_CORE_READ(child, pid) != child_tgid)
		return 0; /* a thread */
	struct config *config = settings();
	if (!config)
		return 0;
	__u64 child_start = BPF_CORE_READ(child, start_boottime);
	int from_self = tgid == config->self;
	forget(&WATCHED, child_tgid, child_start);
	forget(&EXCLUDED, child_tgid, child_start);
	struct watch below = {.start = child_start};
	struct watch *above = from_self ? 0 : bpf_map_lookup_elem(&WATCHED, &tgid);
	if (above)
		below.until = above->until;
	if (from_self ? config->watch_children : above && (!below.until || bpf_ktime_get_boot_ns() < below.until))
		bpf_map_update_elem(&WATCHED, &child_tgid, &below, BPF_ANY);
	if (!from_self && bpf_map_lookup_elem(&EXCLUDED, &tgid))
		bpf_map_update_elem(&EXCLUDED, &child_tgid, &child_start, BPF_ANY);
	if (!wanted(child_tgid))
		return 0;
	struct fork_event *event = bpf_ringbuf_reserve(&LIFECYCLE, sizeof(*event), 0);
	if (!event) {
		drop(DROP_LIFECYCLE_RING, 1);
		return 0;
	}
	event->child_start = child_start;
	event->child_tgid = child_tgid;
	event->pad = 0;
	fill_header(&event->header, EVENT_FORK, sizeof(*event), tgid, BPF_CORE_READ(parent, pid), leader_start(parent));
	bpf_ringbuf_submit(event, waiting());
	return 0;
}

struct process_id {
	__u64 start;
	__u32 tgid;
	__u32 pad;
};

/* Processes whose exit was told already: two last threads may both see `live == 0`. */
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, 8192); __type(key, struct process_id); __type(value, __u8); } EXITED SEC(".maps");

#define EEXIST 17

SEC("raw_tp/sched_process_exit")
int process_exit(__u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];
	__u32 tgid = BPF_CORE_READ(task, tgid);
	struct signal_struct *signal = BPF_CORE_READ(task, signal);

	if (BPF_CORE_READ(signal, live.counter) != 0)
		return 0;
	int want = wanted(tgid);
	bpf_map_delete_elem(&WATCHED, &tgid);
	bpf_map_delete_elem(&EXCLUDED, &tgid);
	if (!want)
		return 0;
	__u64 start = leader_start(task);
	struct process_id id = {.start = start, .tgid = tgid};
	__u8 told = 1;
	if (bpf_map_update_elem(&EXITED, &id, &told, BPF_NOEXIST) == -EEXIST)
		return 0; /* the other thread was first */
	struct exit_event *event = bpf_ringbuf_reserve(&LIFECYCLE, sizeof(*event), 0);
	if (!event) {
		drop(DROP_LIFECYCLE_RING, 1);
		return 0;
	}
	int status = BPF_CORE_READ(signal, flags) & SIGNAL_GROUP_EXIT ? BPF_CORE_READ(signal, group_exit_code)
								      : BPF_CORE_READ(task, group_leader, exit_code);
	event->code = (status >> 8) & 0xff;
	event->signal = status & 0x7f;
	fill_header(&event->header, EVENT_EXIT, sizeof(*event), tgid, BPF_CORE_READ(task, pid), start);
	bpf_ringbuf_submit(event, waiting());
	return 0;
}

/* Files whose mapping was told already. */
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, 16384); __type(key, struct file_id); __type(value, __u8); } MAPPED SEC(".maps");

static __always_inline int mapped(__u32 fd)
{
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	__u32 tgid = pid_tgid >> 32;
	if ((__s32)fd < 0 || !wanted(tgid))
		return 0;
	struct task_struct *task = (void *)bpf_get_current_task();
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	if (fd >= BPF_CORE_READ(table, max_fds))
		return 0;
	struct file **files = BPF_CORE_READ(table, fd);
	struct file *file = 0;
	bpf_probe_read_kernel(&file, sizeof(file), files + fd);
	if (!file)
		return 0;
	struct file_id id = {
		.inode = BPF_CORE_READ(file, f_inode, i_ino),
		.dev = BPF_CORE_READ(file, f_inode, i_sb, s_dev),
	};
	if (bpf_map_lookup_elem(&MAPPED, &id))
		return 0;
	struct map_event *event = bpf_ringbuf_reserve(&LIFECYCLE, sizeof(*event), 0);
	if (!event) {
		drop(DROP_LIFECYCLE_RING, 1);
		return 0;
	}
	__u8 one = 1;
	bpf_map_update_elem(&MAPPED, &id, &one, BPF_ANY);
	event->inode = id.inode;
	event->dev = id.dev;
	event->pad = 0;
	fill_header(&event->header, EVENT_MAP, sizeof(*event), tgid, (__u32)pid_tgid, leader_start(task));
	bpf_ringbuf_submit(event, BPF_RB_FORCE_WAKEUP);
	return 0;
}

/* For watched processes only. */
SEC("raw_tp/sys_enter")
int file_map(__u64 *ctx)
{
	struct registers *registers = (void *)ctx[0];
	__u64 protection = 0, fd = 0;
	if (!bpf_probe_read_kernel(&protection, sizeof(protection), &registers->dx) && protection & PROT_EXEC &&
	    !bpf_probe_read_kernel(&fd, sizeof(fd), &registers->r8))
		return mapped(fd);
	return 0;
}

/* /sys/kernel/tracing/events/syscalls/sys_enter_mmap/format: eight bytes of common fields, the number, arguments. */
struct enter_mmap {
	__u64 common;
	__u64 nr;
	__u64 addr, len, prot, flags, fd, off;
};

/* For all processes, where there are no perf events (receiver/src/probes/mappings.rs). */
SEC("tracepoint/syscalls/sys_enter_mmap")
int file_map_all(struct enter_mmap *ctx)
{
	return ctx->prot & PROT_EXEC ? mapped(ctx->fd) : 0;
}
