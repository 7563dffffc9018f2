package pipeline

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// availableMemory is how many bytes this process may still take before it is
// killed: what the machine has left, swap included, or its control group. 0:
// not known.
func availableMemory() int64 { return availableAt("/") }

func availableAt(root string) int64 {
	machine := table(filepath.Join(root, "proc/meminfo"))
	left := (machine["MemAvailable:"] + machine["SwapFree:"]) << 10
	folder := "sys/fs/cgroup"
	text, _ := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	_, group, _ := strings.Cut(strings.TrimSpace(string(text)), "0::")
	// A limit of any group above holds too. In a container the group's path may be
	// that of the host, and its own is the root.
	for ; ; group = filepath.Dir(group) {
		at := filepath.Join(root, folder, group)
		if limit := number(filepath.Join(at, "memory.max")); limit > 0 {
			used := number(filepath.Join(at, "memory.current")) - table(filepath.Join(at, "memory.stat"))["inactive_file"]
			left = min(left, max(limit-used, 1))
		}
		if len(group) <= 1 {
			break
		}
	}
	if limit := number(filepath.Join(root, folder, "memory/memory.limit_in_bytes")); limit > 0 {
		used := number(filepath.Join(root, folder, "memory/memory.usage_in_bytes")) - table(filepath.Join(root, folder, "memory/memory.stat"))["total_inactive_file"]
		left = min(left, max(limit-used, 1))
	}
	return left
}

// table reads lines of a name and a number.
func table(path string) map[string]int64 {
	text, _ := os.ReadFile(path)
	out := map[string]int64{}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 {
			out[f[0]], _ = strconv.ParseInt(f[1], 10, 64)
		}
	}
	return out
}

// number reads a file of one number; 0 where it has none, such as max.
func number(path string) int64 {
	text, _ := os.ReadFile(path)
	n, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n
}
