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
/* include/uapi/linux/mount.h */
#define OPEN_TREE_CLONE 1

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

/* umount2, chroot, pivot_root: a path comes first */
SEC("raw_tp/sys_exit")
int security_path(__u64 *ctx)
{
	struct telling_deed *deeds = security_of(ctx);
	if (!deeds)
		return 0;
	name_path(AT_FDCWD, deeds->registers.di, 0);
	return tell_security();
}

/* delete_module, memfd_create: a name comes first */
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

/* setns, init_module, bpf */
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

/* kill, tkill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo: the process comes first, the signal second or third. */
static __always_inline int signalled(__u64 *ctx, int second)
{
	struct telling_deed *deeds = security_of(ctx);
	if (!deeds)
		return 0;
	__s32 pid = deeds->security.arguments[0];
	__u64 signal = deeds->security.arguments[second ? 1 : 2];
	deeds->security.arguments[1] = signal;
	if (!(__u32)signal || !pid || pid == (__s32)(bpf_get_current_pid_tgid() >> 32))
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

/* pidfd_send_signal: the process behind the descriptor is read from what hangs at its file. */
SEC("raw_tp/sys_exit")
int security_pidfd_signal(__u64 *ctx)
{
	struct telling_deed *deeds = security_of(ctx);
	if (!deeds || !deeds->security.arguments[1])
		return 0;
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
	if (deeds->security.arguments[0] == bpf_get_current_pid_tgid() >> 32)
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
