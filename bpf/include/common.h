/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Maps and helpers that all probe families share. */
#ifndef ONLOOKER_COMMON_H
#define ONLOOKER_COMMON_H

#include "kernel.h"
#include "events.h"

/* A small ring for lifecycle events and a big one for payload, so that payload never crowds out lifecycle. */
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4 << 20); } LIFECYCLE SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 64 << 20); } PAYLOAD SEC(".maps");
/* One of their own for connections: a flood of them costs nobody else. Never wakes the reader. */
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4 << 20); } NETWORK SEC(".maps");

/* And for files, and for changes of rights, which a flood of files must not hide. */
#define FILES_SIZE (8 << 20)
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, FILES_SIZE); } FILES SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 256 << 10); } SECURITY SEC(".maps");

struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct config); } CONFIG SEC(".maps");

/* How long a process is watched. Candidates, which are likely to become agents, are in the same map, so that it costs nobody
 * else a look into another one; user space takes out those whose time is over. */
struct watch {
	__u64 start; /* start_boottime of its leader */
	__u64 until; /* 0: it is watched; else it is a candidate until this time (bpf_ktime_get_boot_ns) */
};
/* By tgid. */
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 65536); __uint(map_flags, BPF_F_NO_PREALLOC); __type(key, __u32); __type(value, struct watch); } WATCHED SEC(".maps");

/* Processes that rules exclude (host scope). */
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 65536); __uint(map_flags, BPF_F_NO_PREALLOC); __type(key, __u32); __type(value, __u64); } EXCLUDED SEC(".maps");

/* Counters are per CPU: atomics on globals do not load on 5.10. */
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, DROP_REASONS); __type(key, __u32); __type(value, __u64); } DROPS SEC(".maps");

/* 1: the reader sleeps for long; whoever has something for it wakes it. */
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, __u32); } ASLEEP SEC(".maps");

/* A uprobe may be preempted by another one on its processor, hence the atomic addition (to a map's value: that loads
 * everywhere). */
static __always_inline void drop(__u32 reason, __u64 n)
{
	__u64 *count = bpf_map_lookup_elem(&DROPS, &reason);
	if (count)
		__sync_fetch_and_add(count, n);
}

/* Whether the reader sleeps for long. Who asks wakes it. */
static __always_inline int reader_sleeps(void)
{
	__u32 zero = 0;
	__u32 *asleep = bpf_map_lookup_elem(&ASLEEP, &zero);
	if (!asleep || !*asleep)
		return 0;
	*asleep = 0;
	return 1;
}

static __always_inline struct config *settings(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&CONFIG, &zero);
}

/* Whether a process is watched, or a candidate. */
static __always_inline int watched(__u32 tgid)
{
	struct watch *watch = bpf_map_lookup_elem(&WATCHED, &tgid);
	return watch && (!watch->until || bpf_ktime_get_boot_ns() < watch->until);
}

static __always_inline int candidate(__u32 tgid)
{
	struct watch *watch = bpf_map_lookup_elem(&WATCHED, &tgid);
	return watch && watch->until;
}

/* Whether this process's events are wanted. */
static __always_inline int wanted(__u32 tgid)
{
	struct config *config = settings();
	if (!config || tgid == config->self)
		return 0;
	if (config->scope == SCOPE_HOST)
		return !bpf_map_lookup_elem(&EXCLUDED, &tgid);
	return watched(tgid);
}

static __always_inline void fill_header(struct event_header *header, __u32 type, __u32 size, __u32 tgid, __u32 tid, __u64 start)
{
	header->type = type;
	header->tgid = tgid;
	header->time = bpf_ktime_get_boot_ns();
	header->start = start;
	header->tid = tid;
	header->size = size;
}

static __always_inline __u64 leader_start(struct task_struct *task)
{
	return BPF_CORE_READ(task, group_leader, start_boottime);
}

#endif
