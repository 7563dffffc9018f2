package benchmark

import (
	"embed"
	"strconv"
	"strings"
	"sync"

	"github.com/relevit/relevit/pipeline/dataset"
)

// The class lists, as published with the data sets; each file's head says by
// whom.
//
//go:embed lists/*.tsv
var lists embed.FS

// imagenetClasses is how many classes ImageNet-1k has.
const imagenetClasses = 1000

// tables are the embedded lists.
type tables struct {
	wnids    []string         // (1000) of ImageNet-1k, by class index
	names    []string         // (1000)
	index    map[string]int   // class index by WNID
	official []int            // (1000) class index by ILSVRC2012_ID - 1
	a, r     []int            // (200) class indices of ImageNet-A and -R, ascending
	siScore  map[string][]int // class indices by label
}

// known reads the embedded lists, once. They are tested to be sound.
var known = sync.OnceValue(func() *tables {
	t := &tables{index: map[string]int{}, siScore: map[string][]int{}}
	for _, cells := range cellsOf(dataset.ImageNetList) {
		t.index[cells[1]] = number(cells[0])
		t.wnids, t.names = append(t.wnids, cells[1]), append(t.names, strings.ReplaceAll(cells[2], "_", " "))
	}
	for _, cells := range rows("ilsvrc2012") {
		t.official = append(t.official, t.index[cells[1]])
	}
	for _, cells := range rows("imagenet-a") {
		t.a = append(t.a, number(cells[0]))
	}
	for _, cells := range rows("imagenet-r") {
		t.r = append(t.r, number(cells[0]))
	}
	for _, cells := range rows("si-score") {
		for _, n := range strings.Split(cells[1], ",") {
			t.siScore[cells[0]] = append(t.siScore[cells[0]], number(n))
		}
	}
	return t
})

// rows are the lines of an embedded list.
func rows(name string) [][]string {
	data, err := lists.ReadFile("lists/" + name + ".tsv")
	if err != nil {
		panic(err)
	}
	return cellsOf(string(data))
}

// cellsOf splits a list, without its head.
func cellsOf(list string) (out [][]string) {
	for line := range strings.Lines(list) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") {
			out = append(out, strings.Split(line, "\t"))
		}
	}
	return out
}

func number(cell string) int {
	n, err := strconv.Atoi(cell)
	if err != nil {
		panic(err)
	}
	return n
}

// imagenetClass is a class of ImageNet-1k by its index.
func imagenetClass(index int) Class {
	t := known()
	return Class{Name: t.wnids[index], Title: t.names[index], Targets: []int{index}}
}

// isWNID says whether a name has the form of a WordNet ID.
func isWNID(name string) bool {
	return len(name) == 9 && name[0] == 'n' && !strings.ContainsFunc(name[1:], func(r rune) bool { return r < '0' || r > '9' })
}

// siScoreTargets are the classes of an SI-Score label. Folders may be written
// with underscores.
func siScoreTargets(folder string) []int {
	t := known()
	if found, ok := t.siScore[folder]; ok {
		return found
	}
	return t.siScore[strings.ReplaceAll(folder, "_", " ")]
}
