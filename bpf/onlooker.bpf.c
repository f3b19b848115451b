/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* All probe families as one object. */
#include "calls.bpf.c"
#include "process.bpf.c"
#include "tls.bpf.c"
#include "rustls.bpf.c"
#include "aead.bpf.c"
#include "go.bpf.c"
#include "socket.bpf.c"
#include "socket_calls.bpf.c"
#include "network.bpf.c"
#include "file.bpf.c"
#include "security.bpf.c"

/* The kernel offers some helpers only to programs that say GPL (include/linux/license.h). */
char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* Never called: they bring the events' layouts into the object's BTF, where a test compares them with the decoder's. */
int process_layouts(struct exec_event *exec, struct fork_event *fork, struct exit_event *exit, struct map_event *map)
{
	return 0;
}

int tls_layouts(struct data_event *data, struct close_event *close, struct socket_event *socket, struct pair_event *pair,
		struct socket_close_event *end)
{
	return 0;
}

int deed_layouts(struct file_event *file, struct security_event *security)
{
	return 0;
}
