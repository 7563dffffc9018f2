package passes

import "math"

// network is a flow network whose vertices are numbers from 0.
type network struct {
	edges []edge  // an edge and its reverse side by side
	from  [][]int // edges that leave a vertex
}

type edge struct {
	to   int
	room int64 // what may still flow
}

// endless is more than all that is finite together.
const endless = math.MaxInt64 / 4

func (w *network) vertex() int {
	w.from = append(w.from, nil)
	return len(w.from) - 1
}

func (w *network) connect(a, b int, capacity int64) {
	w.from[a] = append(w.from[a], len(w.edges))
	w.from[b] = append(w.from[b], len(w.edges)+1)
	w.edges = append(w.edges, edge{b, capacity}, edge{a, 0})
}

// cut finds the minimal cut nearest to the sink by Dinic's algorithm and
// reports which vertices lie on the sink's side.
func (w *network) cut(source, sink int) []bool {
	for {
		level := w.levels(source)
		if level[sink] < 0 {
			break
		}
		next := make([]int, len(w.from))
		for w.push(source, sink, endless, level, next) > 0 {
		}
	}
	behind := make([]bool, len(w.from))
	behind[sink] = true
	for queue := []int{sink}; len(queue) > 0; queue = queue[1:] {
		for _, e := range w.from[queue[0]] {
			if back := w.edges[e^1]; back.room > 0 && !behind[w.edges[e].to] {
				behind[w.edges[e].to] = true
				queue = append(queue, w.edges[e].to)
			}
		}
	}
	return behind
}

// levels are the distances from the source, -1 for what isn't reached.
func (w *network) levels(source int) []int {
	level := make([]int, len(w.from))
	for i := range level {
		level[i] = -1
	}
	level[source] = 0
	for queue := []int{source}; len(queue) > 0; queue = queue[1:] {
		for _, e := range w.from[queue[0]] {
			if to := w.edges[e].to; w.edges[e].room > 0 && level[to] < 0 {
				level[to] = level[queue[0]] + 1
				queue = append(queue, to)
			}
		}
	}
	return level
}

// push sends flow along one path of rising levels and returns how much.
func (w *network) push(at, sink int, most int64, level, next []int) int64 {
	if at == sink {
		return most
	}
	for ; next[at] < len(w.from[at]); next[at]++ {
		e := w.from[at][next[at]]
		to := w.edges[e].to
		if w.edges[e].room == 0 || level[to] != level[at]+1 {
			continue
		}
		if flow := w.push(to, sink, min(most, w.edges[e].room), level, next); flow > 0 {
			w.edges[e].room -= flow
			w.edges[e^1].room += flow
			return flow
		}
	}
	return 0
}
