/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* What changes the rights of watched processes, reaches into others or into the kernel: system calls with their outcome,
 * and user ids, group ids and capabilities before and after.
 *
 * Comes after socket.bpf.c, calls.bpf.c and file.bpf.c. */

/* include/uapi/linux/ptrace.h */
#define PTRACE_ATTACH 16
#define PTRACE_SEIZE 0x4206
/* include/uapi/linux/sched.h: CLONE_NEWTIME, NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET */
#define CLONE_NAMESPACES 0x7e020080
/* CLONE_NEWTIME is one of the bits of clone's exit signal. */
#define CLONE_NAMESPACES_OF_CLONE 0x7e020000
/* include/uapi/linux/personality.h: to ask, not to set */
#define PERSONALITY_ASK 0xffffffff
/* include/uapi/linux/keyctl.h: KEYCTL_GET_KEYRING_ID */
#define KEYCTL_ID 0
/* include/uapi/asm-generic/siginfo.h: signals that a process sends */
#define SI_USER 0
#define SI_QUEUE -1
#define SI_TKILL -6

/* Rights of a thread. */
struct rights {
	__u32 ids[6]; /* user: real, effective, saved; group: the same */
	__u64 capabilities; /* effective */
};
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, 4096); __type(key, __u64); __type(value, struct rights); } RIGHTS SEC(".maps");

static __always_inline void read_rights(struct rights *rights)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	const struct cred *cred = BPF_CORE_READ(task, cred);
	rights->ids[0] = BPF_CORE_READ(cred, uid.val);
	rights->ids[1] = BPF_CORE_READ(cred, euid.val);
	rights->ids[2] = BPF_CORE_READ(cred, suid.val);
	rights->ids[3] = BPF_CORE_READ(cred, gid.val);
	rights->ids[4] = BPF_CORE_READ(cred, egid.val);
	rights->ids[5] = BPF_CORE_READ(cred, sgid.val);
	rights->capabilities = 0;
	/* Two words before 6.3, one long since. */
	bpf_core_read(&rights->capabilities, 8, &cred->cap_effective);
}

/* The event under way goes out. */
__attribute__((noinline)) int tell_security(void)
{
	struct telling_deed *deeds = telling_deed();
	if (!deeds)
		return 0;
	__u64 thread = bpf_get_current_pid_tgid();
	deeds->security.path = deeds->sizes[0];
	deeds->security.other = deeds->sizes[1];
	TELL(&SECURITY, &deeds->security, struct security_event, EVENT_SECURITY, sizeof(struct security_event) + deeds->at, DROP_SECURITY_RING);
	return 0;
}

/* The call under way. */
static __always_inline struct telling_deed *security_of(__u64 *ctx)
{
	struct telling_deed *deeds = begin_deed();
	if (!deeds || bpf_probe_read_kernel(&deeds->registers, sizeof(deeds->registers), (void *)ctx[0]))
		return 0;
	struct security_event *event = &deeds->security;
	__s64 result = deeds->registers.ax;
	event->call = deeds->registers.orig_ax;
	event->error = result < 0 && result >= -4095 ? -result : 0;
	event->result = result;
	event->arguments[0] = deeds->registers.di;
	event->arguments[1] = deeds->registers.si;
	event->arguments[2] = deeds->registers.dx;
	event->arguments[3] = deeds->registers.r10;
	struct task_struct *task = (void *)bpf_get_current_task();
	event->level = BPF_CORE_READ(task, thread_pid, level);
	return deeds;
}

/* setuid, setreuid, setresuid, setgid, setregid, setresgid, capset: before */
SEC("raw_tp/sys_enter")
int security_rights_entry(__u64 *ctx)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct rights rights;
	read_rights(&rights);
	bpf_map_update_elem(&RIGHTS, &thread, &rights, BPF_ANY);
	return 0;
}

/* … and after */
SEC("raw_tp/sys_exit")
int security_rights(__u64 *ctx)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct rights after;
	struct rights *before = bpf_map_lookup_elem(&RIGHTS, &thread);
	struct telling_deed *deeds = security_of(ctx);
	if (!before || !deeds)
		return 0;
	read_rights(&after);
	struct security_event *event = &deeds->security;
	int same = after.capabilities == before->capabilities;
	for (int i = 0; i < 6; i++) {
		event->old_ids[i] = before->ids[i];
		event->new_ids[i] = after.ids[i];
		same &= before->ids[i] == after.ids[i];
	}
	event->old_capabilities = before->capabilities;
	event->new_capabilities = after.capabilities;
	bpf_map_delete_elem(&RIGHTS, &thread);
	if (same && !event->error)
		return 0;
	return tell_security();
}

SEC("raw_tp/sys_exit")
int security_ptrace(__u64 *ctx)
{
	struct telling_deed *deeds = security_of(ctx);
	if (!deeds)
		return 0;
	__u64 request = deeds->security.arguments[0];
	if (request != PTRACE_ATTACH && request != PTRACE_SEIZE)
		return 0;
	return tell_security();
}

/* process_vm_readv, process_vm_writev */
SEC("raw_tp/sys_exit")
int security_memory(__u64 *ctx)
{
	struct telling_deed *deeds = security_of(ctx);
	if (!deeds || (__u32)deeds->security.arguments[0] == bpf_get_current_pid_tgid() >> 32)
		return 0;
	return tell_security();
}

SEC("raw_tp/sys_exit")
int security_mount(__u64 *ctx)
{
	struct telling_deed *deeds = security_of(ctx);
	if (!deeds)
		return 0;
	name_path(AT_FDCWD, deeds->registers.si, 0);
	if (deeds->registers.di)
		name_text(deeds->registers.di, 1);
	if (deeds->registers.dx)
		bpf_probe_read_user_str(deeds->security.text, sizeof(deeds->security.text), (void *)deeds->registers.dx);
	return tell_security();
}

/* move_mount: from, to */
SEC("raw_tp/sys_exit")
int security_move_mount(__u64 *ctx)
{
	struct telling_deed *deeds = security_of(ctx);
	if (!deeds)
		return 0;
	name_path(deeds->registers.dx, deeds->registers.r10, 0);
	name_path(deeds->registers.di, deeds->registers.si, 1);
	return tell_security();
}

/* umount2, chroot, pivot_root, swapon, swapoff, acct: a path comes first */
SEC("raw_tp/sys_exit")
int security_path(__u64 *ctx)
{
	struct telling_deed *deeds = security_of(ctx);
	if (!deeds)
		return 0;
	name_path(AT_FDCWD, deeds->registers.di, 0);
	return tell_security();
}

/* delete_module, memfd_create, add_key: a name comes first */
SEC("raw_tp/sys_exit")
int security_name(__u64 *ctx)
{
	struct telling_deed *deeds = security_of(ctx);
	if (!deeds)
		return 0;
	name_text(deeds->registers.di, 0);
	return tell_security();
}

/* finit_module: an open file comes first */
SEC("raw_tp/sys_exit")
int security_file(__u64 *ctx)
{
	struct telling_deed *deeds = security_of(ctx);
	if (!deeds)
		return 0;
	struct file *file = file_of(deeds->registers.di);
	if (file)
		name_file((__u64)file, 0);
	return tell_security();
}

/* setns, init_module, bpf, settimeofday, clock_settime, reboot, kexec_load, kexec_file_load, iopl, ioperm,
 * perf_event_open */
SEC("raw_tp/sys_exit")
int security_call(__u64 *ctx)
{
	if (!security_of(ctx))
		return 0;
	return tell_security();
}

SEC("raw_tp/sys_exit")
int security_unshare(__u64 *ctx)
{
	struct telling_deed *deeds = security_of(ctx);
	if (!deeds || !(deeds->security.arguments[0] & CLONE_NAMESPACES))
		return 0;
	return tell_security();
}

SEC("raw_tp/sys_exit")
int security_clone(__u64 *ctx)
{
	struct registers *registers = (void *)ctx[0];
	__u64 flags = 0;
	/* The child returns, too: with 0. */
	if (!ctx[1] || bpf_probe_read_kernel(&flags, sizeof(flags), &registers->di) || !(flags & CLONE_NAMESPACES_OF_CLONE))
		return 0;
	struct telling_deed *deeds = security_of(ctx);
	if (!deeds)
		return 0;
	deeds->security.arguments[0] = flags & CLONE_NAMESPACES_OF_CLONE;
	return tell_security();
}

SEC("raw_tp/sys_exit")
int security_clone3(__u64 *ctx)
{
	struct registers *registers = (void *)ctx[0];
	__u64 at = 0, flags = 0; /* begins struct clone_args */
	if (!ctx[1] || bpf_probe_read_kernel(&at, sizeof(at), &registers->di) || bpf_probe_read_user(&flags, sizeof(flags), (void *)at) ||
	    !(flags & CLONE_NAMESPACES))
		return 0;
	struct telling_deed *deeds = security_of(ctx);
	if (!deeds)
		return 0;
	deeds->security.arguments[0] = flags;
	return tell_security();
}

/* Whom a thread's call has signalled so far. */
struct signalled {
	__u32 tgid; /* the last one */
	__u32 count;
};
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, 4096); __type(key, __u64); __type(value, struct signalled); } SIGNALLED SEC(".maps");

/* A signal reaches a process: the kernel says which, whatever number the caller knows it by. */
SEC("raw_tp/signal_generate")
int security_signal(__u64 *ctx)
{
	__u64 thread = bpf_get_current_pid_tgid();
	__u32 tgid = thread >> 32;
	struct kernel_siginfo *info = (void *)ctx[1];
	/* 0 and 1 are no addresses: the kernel's own. */
	if (!bpf_map_lookup_elem(&WATCHED, &tgid) || ctx[1] <= 1)
		return 0;
	int code = BPF_CORE_READ(info, si_code);
	if (code != SI_USER && code != SI_QUEUE && code != SI_TKILL)
		return 0;
	struct task_struct *task = (void *)ctx[2];
	struct signalled *known = bpf_map_lookup_elem(&SIGNALLED, &thread);
	struct signalled now = {.tgid = BPF_CORE_READ(task, tgid), .count = known ? known->count + 1 : 1};
	bpf_map_update_elem(&SIGNALLED, &thread, &now, BPF_ANY);
	return 0;
}

/* kill, tkill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo: the process comes first, the signal second or third. */
static __always_inline int signalled(__u64 *ctx, int second)
{
	struct telling_deed *deeds = security_of(ctx);
	if (!deeds)
		return 0;
	__u64 thread = bpf_get_current_pid_tgid();
	__u64 signal = deeds->security.arguments[second ? 1 : 2];
	deeds->security.arguments[1] = signal;
	struct signalled *known = bpf_map_lookup_elem(&SIGNALLED, &thread);
	if (known) {
		if (known->count == 1) {
			deeds->security.arguments[0] = known->tgid;
			deeds->security.level = 0;
		}
		bpf_map_delete_elem(&SIGNALLED, &thread);
	}
	__s32 pid = deeds->security.arguments[0];
	if (!(__u32)signal || !pid || (!deeds->security.level && pid == (__s32)(thread >> 32)))
		return 0;
	return tell_security();
}

SEC("raw_tp/sys_exit")
int security_kill(__u64 *ctx)
{
	return signalled(ctx, 1);
}

SEC("raw_tp/sys_exit")
int security_tgkill(__u64 *ctx)
{
	return signalled(ctx, 0);
}

/* The process behind a descriptor takes the place of the first argument: it is read from what hangs at its file. 0: it is
 * the calling one, or none. */
static __always_inline int behind_descriptor(struct telling_deed *deeds)
{
	struct file *file = file_of(deeds->registers.di);
	if (!file)
		return 0;
	struct pid *pid = BPF_CORE_READ(file, private_data);
	/* In a file system of their own since 6.9. */
	if (!pid)
		pid = BPF_CORE_READ(file, f_inode, i_private);
	deeds->security.arguments[0] = (__s64)BPF_CORE_READ(pid, numbers[0].nr);
	/* The number that the host knows. */
	deeds->security.level = 0;
	return deeds->security.arguments[0] != bpf_get_current_pid_tgid() >> 32;
}

SEC("raw_tp/sys_exit")
int security_pidfd_signal(__u64 *ctx)
{
	struct telling_deed *deeds = security_of(ctx);
	__u64 thread = bpf_get_current_pid_tgid();
	if (!deeds)
		return 0;
	bpf_map_delete_elem(&SIGNALLED, &thread);
	if (!deeds->security.arguments[1] || !behind_descriptor(deeds))
		return 0;
	return tell_security();
}

/* pidfd_getfd: a descriptor of another process is taken. */
SEC("raw_tp/sys_exit")
int security_pidfd_getfd(__u64 *ctx)
{
	struct telling_deed *deeds = security_of(ctx);
	if (!deeds || !behind_descriptor(deeds))
		return 0;
	return tell_security();
}

SEC("raw_tp/sys_exit")
int security_bind(__u64 *ctx)
{
	struct telling_deed *deeds = security_of(ctx);
	if (!deeds)
		return 0;
	struct address address = {};
	/* No port: the kernel chooses one, mostly for a client. */
	if (!port_of(deeds->registers.si, &address))
		return 0;
	__builtin_memcpy(deeds->security.text, &address, sizeof(address));
	return tell_security();
}

/* A program that lies in memory only. */
SEC("raw_tp/sched_process_exec")
int security_exec(__u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];
	struct linux_binprm *bprm = (void *)ctx[2];
	__u32 tgid = BPF_CORE_READ(task, tgid);
	if (!watched(tgid))
		return 0;
	struct file *file = BPF_CORE_READ(bprm, file);
	struct dentry *dentry = BPF_CORE_READ(file, f_path.dentry);
	char name[8] = {};
	bpf_probe_read_kernel_str(name, sizeof(name), BPF_CORE_READ(dentry, d_name.name));
	if (BPF_CORE_READ(dentry, d_parent) != dentry || name[0] != 'm' || name[1] != 'e' || name[2] != 'm' || name[3] != 'f' ||
	    name[4] != 'd' || name[5] != ':')
		return 0;
	struct telling_deed *deeds = begin_deed();
	if (!deeds)
		return 0;
	deeds->security.call = CALL_MEMFD_EXEC;
	name_file((__u64)file, 0);
	return tell_security();
}

/* setfsuid, setfsgid: they answer what it was, whether it was changed or not. */
SEC("raw_tp/sys_exit")
int security_file_system_id(__u64 *ctx)
{
	struct telling_deed *deeds = security_of(ctx);
	if (!deeds)
		return 0;
	struct security_event *event = &deeds->security;
	struct task_struct *task = (void *)bpf_get_current_task();
	__u32 now = event->call == 122 /* setfsuid, unistd_64.h */ ? BPF_CORE_READ(task, cred, fsuid.val) : BPF_CORE_READ(task, cred, fsgid.val);
	__u32 before = event->result;
	if (now == before)
		return 0;
	event->arguments[1] = now;
	return tell_security();
}

/* setgroups: how many, and the first of them */
SEC("raw_tp/sys_exit")
int security_groups(__u64 *ctx)
{
	struct telling_deed *deeds = security_of(ctx);
	if (!deeds)
		return 0;
	__u64 size = (__u32)deeds->security.arguments[0];
	size = size < 8 ? size * 4 : 32;
	asm volatile("if %[n] <= 32 goto +1; %[n] = 32" : [n] "+r"(size));
	if (size)
		bpf_probe_read_user(deeds->security.text, size, (void *)deeds->registers.si);
	return tell_security();
}

/* mount_setattr: the directory and the path, flags, attributes: those to set, those to clear, the propagation */
SEC("raw_tp/sys_exit")
int security_mount_attributes(__u64 *ctx)
{
	struct telling_deed *deeds = security_of(ctx);
	__u64 attributes[3] = {};
	if (!deeds)
		return 0;
	bpf_probe_read_user(attributes, sizeof(attributes), (void *)deeds->registers.r10);
	deeds->security.arguments[1] = attributes[0];
	deeds->security.arguments[2] = attributes[1];
	deeds->security.arguments[3] = attributes[2];
	name_path(deeds->registers.di, deeds->registers.si, 0);
	return tell_security();
}

/* sethostname, setdomainname: a name and its length */
SEC("raw_tp/sys_exit")
int security_host_name(__u64 *ctx)
{
	struct telling_deed *deeds = security_of(ctx);
	if (!deeds)
		return 0;
	__u64 size = deeds->security.arguments[1] & 0xffffffff;
	asm volatile("if %[n] <= 31 goto +1; %[n] = 31" : [n] "+r"(size));
	if (size)
		bpf_probe_read_user(deeds->security.text, size, (void *)deeds->registers.di);
	return tell_security();
}

SEC("raw_tp/sys_exit")
int security_personality(__u64 *ctx)
{
	struct telling_deed *deeds = security_of(ctx);
	if (!deeds || (__u32)deeds->security.arguments[0] == PERSONALITY_ASK || (__u32)deeds->security.arguments[0] == (__u32)deeds->security.result)
		return 0;
	return tell_security();
}

SEC("raw_tp/sys_exit")
int security_keys(__u64 *ctx)
{
	struct telling_deed *deeds = security_of(ctx);
	if (!deeds || (__u32)deeds->security.arguments[0] == KEYCTL_ID)
		return 0;
	return tell_security();
}

/* What processes do through io_uring, by process and operation. */
struct ring_use {
	__u32 tgid;
	__u32 operation;
};
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 16384); __uint(map_flags, BPF_F_NO_PREALLOC); __type(key, struct ring_use); __type(value, __u64); } RING_USES SEC(".maps");

/* enum io_uring_op, include/uapi/linux/io_uring.h, has fewer; those with higher numbers are told as one. */
#define OPERATIONS 96

/* Processes with a ring. */
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, 16384); __type(key, __u32); __type(value, __u8); } RINGS SEC(".maps");

/* io_uring_setup */
SEC("raw_tp/sys_exit")
int security_ring(__u64 *ctx)
{
	struct telling_deed *deeds = security_of(ctx);
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	__u8 one = 1;
	if (!deeds || deeds->security.error)
		return 0;
	bpf_map_update_elem(&RINGS, &tgid, &one, BPF_ANY);
	return tell_security();
}

/* Tells how often an operation was asked for since it was last told. */
__attribute__((noinline)) int tell_operation(__u64 operation, __u64 count)
{
	struct telling_deed *deeds = begin_deed();
	if (!deeds)
		return 0;
	deeds->security.call = CALL_RING;
	deeds->security.arguments[0] = operation;
	deeds->security.arguments[1] = count;
	return tell_security();
}

/* A request is given to the kernel: by the process itself, or by the kernel's thread of its ring, which is one of the
 * process's. The first of a kind is told, the rest when the process ends or goes on as another program. */
SEC("raw_tp/io_uring_submit_req")
int security_ring_submit(__u64 *ctx)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	if (!bpf_map_lookup_elem(&WATCHED, &tgid))
		return 0;
	struct io_kiocb *request = (void *)ctx[0];
	struct ring_use use = {.tgid = tgid, .operation = BPF_CORE_READ(request, opcode)};
	if (use.operation >= OPERATIONS)
		use.operation = OPERATIONS - 1;
	__u64 *count = bpf_map_lookup_elem(&RING_USES, &use);
	if (count) {
		__sync_fetch_and_add(count, 1);
		return 0;
	}
	__u64 none = 0;
	__u8 one = 1;
	/* A ring may be another process's. */
	bpf_map_update_elem(&RINGS, &tgid, &one, BPF_ANY);
	bpf_map_update_elem(&RING_USES, &use, &none, BPF_NOEXIST);
	return tell_operation(use.operation, 1);
}

/* The rest of one operation. */
__attribute__((noinline)) int end_operation(__u64 operation)
{
	struct ring_use use = {.tgid = bpf_get_current_pid_tgid() >> 32, .operation = operation};
	__u64 *count = bpf_map_lookup_elem(&RING_USES, &use);
	if (!count)
		return 0;
	__u64 rest = *count;
	bpf_map_delete_elem(&RING_USES, &use);
	if (rest)
		tell_operation(operation, rest);
	return 0;
}

__attribute__((noinline)) int end_rings(void)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	if (!bpf_map_lookup_elem(&RINGS, &tgid))
		return 0;
	bpf_map_delete_elem(&RINGS, &tgid);
	for (__u64 operation = 0; operation < OPERATIONS; operation++)
		end_operation(operation);
	return 0;
}

/* Rings do not outlive an exec. */
SEC("raw_tp/sched_process_exec")
int security_ring_exec(__u64 *ctx)
{
	return end_rings();
}

SEC("raw_tp/sched_process_exit")
int security_exit(__u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];
	if (BPF_CORE_READ(task, signal, live.counter) != 0)
		return 0;
	return end_rings();
}
