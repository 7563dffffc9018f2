package pipeline

import (
	"os"
	"path/filepath"
	"testing"
)

func TestAvailableMemoryIsTheTightestLimit(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"machine":           {map[string]string{"proc/meminfo": "MemTotal: 9 kB\nMemAvailable: 4000 kB\nSwapFree: 96 kB\n"}, 4096 << 10},
		"group":             {map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "2000000\n", "sys/fs/cgroup/a/b/memory.current": "700000\n", "sys/fs/cgroup/a/b/memory.stat": "anon 1\ninactive_file 200000\n"}, 1500000},
		"group above":       {map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/memory.max": "50\n"}, 50},
		"container":         {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "70\n", "sys/fs/cgroup/memory.current": "80\n"}, 1},
		"first version":     {map[string]string{"sys/fs/cgroup/memory/memory.limit_in_bytes": "1000\n", "sys/fs/cgroup/memory/memory.usage_in_bytes": "400\n"}, 600},
		"no group's limit":  {map[string]string{"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 1 << 40},
		"nothing to go by ": {map[string]string{"proc/meminfo": ""}, 0},
	} {
		root := t.TempDir()
		if _, own := c.files["proc/meminfo"]; !own {
			c.files["proc/meminfo"] = "MemAvailable: 1073741824 kB\n"
		}
		for path, text := range c.files {
			path = filepath.Join(root, path)
			if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if got := availableAt(root); got != c.want {
			t.Errorf("%s: %d bytes, want %d", name, got, c.want)
		}
	}
}
