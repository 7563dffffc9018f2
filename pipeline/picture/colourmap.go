package picture

import (
	_ "embed"
	"encoding/hex"
	"fmt"
	"strings"
)

// ColourMap shows a value in [0,1] as a colour.
type ColourMap struct {
	Name    string
	colours [256][3]uint8
}

// The colour maps of matplotlib, by its own tables of 256 colours. Lightness of
// the first three, by Smith and van der Walt (CC0), rises evenly throughout:
// equal steps look equal. Turbo, by Mikhailov (Apache 2.0), tells more steps
// apart, but its ends are dark alike.
var (
	Inferno = readColourMap("inferno")
	Magma   = readColourMap("magma")
	Viridis = readColourMap("viridis")
	Turbo   = readColourMap("turbo")
)

// ColourMaps lists the colour maps, the usual one first.
var ColourMaps = []*ColourMap{Inferno, Magma, Viridis, Turbo}

//go:embed colourmaps.txt
var colourMapTables string

func readColourMap(name string) *ColourMap {
	m := &ColourMap{Name: name}
	_, rest, _ := strings.Cut(colourMapTables, name+" ")
	text, _, _ := strings.Cut(rest, "\n")
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != 3*len(m.colours) {
		panic(fmt.Sprintf("colour map %s: %d bytes (%v)", name, len(raw), err))
	}
	for i := range m.colours {
		m.colours[i] = [3]uint8(raw[3*i:])
	}
	return m
}

// ParseColourMap finds a colour map by its name.
func ParseColourMap(name string) (*ColourMap, error) {
	var names []string
	for _, m := range ColourMaps {
		if m.Name == name {
			return m, nil
		}
		names = append(names, m.Name)
	}
	return nil, fmt.Errorf("colour map %q is none of %s", name, strings.Join(names, ", "))
}

// Colour is that of a value, those beyond [0,1] as its ends and NaN as 0.
func (m *ColourMap) Colour(v float32) (r, g, b uint8) {
	c := m.colours[m.index(v)]
	return c[0], c[1], c[2]
}

// index is the colour's place: as in matplotlib, each has an equal share.
func (m *ColourMap) index(v float32) int {
	if !(v > 0) { // also NaN
		return 0
	}
	return int(min(256*v, 255))
}
