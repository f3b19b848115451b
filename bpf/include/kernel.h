/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* The few kernel structures that the probes read, by CO-RE: only names matter here, offsets come from the
 * running kernel's BTF. */
#ifndef ONLOOKER_KERNEL_H
#define ONLOOKER_KERNEL_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct { unsigned int val; } kuid_t;
typedef struct { unsigned int val; } kgid_t;
typedef struct { int counter; } atomic_t;

typedef struct { __u64 val; } kernel_cap_t;
struct cred { kuid_t uid; kgid_t gid; kuid_t suid; kgid_t sgid; kuid_t euid; kgid_t egid; kuid_t fsuid; kgid_t fsgid; kernel_cap_t cap_effective; };
struct kernel_siginfo { int si_code; };
struct io_kiocb { __u8 opcode; };
struct qstr { const unsigned char *name; };
struct super_block { unsigned int s_dev; };
struct inode { unsigned short i_mode; unsigned long i_ino; struct super_block *i_sb; void *i_private; };
struct dentry { struct dentry *d_parent; struct qstr d_name; };
struct vfsmount { struct dentry *mnt_root; };
struct mount { struct mount *mnt_parent; struct dentry *mnt_mountpoint; struct vfsmount mnt; };
struct path { struct vfsmount *mnt; struct dentry *dentry; };
struct fs_struct { struct path root; struct path pwd; };
struct file { struct inode *f_inode; void *private_data; unsigned int f_flags; unsigned int f_mode; struct path f_path; };
struct upid { int nr; };
struct pid { unsigned int level; struct upid numbers[1]; };
struct thread_info { unsigned int status; };
struct fdtable { unsigned int max_fds; struct file **fd; };
struct files_struct { struct fdtable *fdt; };
struct signal_struct { atomic_t live; int group_exit_code; unsigned int flags; };
struct mm_struct { unsigned long arg_start; unsigned long arg_end; };
struct linux_binprm { struct file *file; const char *filename; };
struct task_struct {
	struct thread_info thread_info;
	struct pid *thread_pid;
	int pid;
	int tgid;
	int exit_code;
	unsigned long long start_boottime;
	struct task_struct *group_leader;
	struct task_struct *real_parent;
	struct mm_struct *mm;
	struct fs_struct *fs;
	struct files_struct *files;
	struct signal_struct *signal;
	const struct cred *cred;
};

/* include/net/sock.h, net/af_unix.h */
struct in6_addr { __u8 bytes[16]; };
struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	unsigned long skc_flags;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};
struct socket;
struct sock {
	struct sock_common __sk_common;
	struct socket *sk_socket;
	int sk_err;
	unsigned short sk_protocol;
	unsigned char sk_shutdown;
};
struct unix_address { int len; };
struct unix_sock { struct unix_address *addr; struct sock *peer; };
/* include/uapi/linux/net.h */
typedef enum { SS_FREE = 0, SS_UNCONNECTED, SS_CONNECTING, SS_CONNECTED, SS_DISCONNECTING } socket_state;
struct socket { socket_state state; short type; struct file *file; struct sock *sk; };
/* include/linux/tcp.h */
struct tcp_sock { __u32 write_seq; __u32 snd_una; __u64 bytes_acked; __u64 bytes_received; };

#pragma clang attribute pop

/* The register file that a uprobe gets (arch/x86/include/asm/ptrace.h, 64 bit). Not relocated: it is ABI. */
struct registers {
	__u64 r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};

#endif
