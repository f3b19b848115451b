/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* All probe families as one object. */
#include "process.bpf.c"
#include "tls.bpf.c"

/* The kernel offers some helpers only to programs that say GPL (include/linux/license.h). */
char LICENSE[] SEC("license") = "Dual MIT/GPL";
