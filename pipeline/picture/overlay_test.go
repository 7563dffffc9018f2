package picture

import (
	"bytes"
	"math"
	"path/filepath"
	"testing"
)

func TestColourMapGrowsLighterThroughout(t *testing.T) {
	last := -1.0
	for i := range 101 {
		r, g, b := Colour(float32(i) / 100)
		lightness := 0.2126*float64(r) + 0.7152*float64(g) + 0.0722*float64(b)
		if lightness < last-0.5 {
			t.Errorf("lightness falls from %.1f to %.1f at %d %%", last, lightness, i)
		}
		last = lightness
	}
	r0, g0, b0 := Colour(float32(math.NaN()))
	r1, g1, b1 := Colour(0)
	if r0 != r1 || g0 != g1 || b0 != b1 {
		t.Error("NaN is not shown as 0")
	}
}

func TestOverlayBlends(t *testing.T) {
	p := checkered(20, 10)
	flat := NewGray(2, 2)
	for _, opacity := range []float64{0, 0.5, 1} {
		got, err := Overlay(p, flat, opacity)
		if err != nil {
			t.Fatal(err)
		}
		r, _, _ := Colour(0)
		want := uint8(math.Round((1-opacity)*float64(p.Pix[3]) + opacity*float64(r)))
		if got.Pix[3] != want {
			t.Errorf("opacity %v: %d, want %d", opacity, got.Pix[3], want)
		}
	}
	if _, err := Overlay(p, flat, 1.5); err == nil {
		t.Error("opacity 1.5 was accepted")
	}
	if _, err := Overlay(p, &Gray{W: 2, H: 2}, 1); err == nil {
		t.Error("a map without values was accepted")
	}
}

func TestSheetHoldsEveryPanelAndItsLabel(t *testing.T) {
	a, b := checkered(40, 30), checkered(20, 50)
	sheet, err := Sheet([]Panel{{a, "before"}, {b, "a label that is much too long"}})
	if err != nil {
		t.Fatal(err)
	}
	if sheet.W != 40+sheetGap+20 || sheet.H != labelHeight+50 {
		t.Fatalf("sheet of %dx%d", sheet.W, sheet.H)
	}
	for y := range a.H {
		if !bytes.Equal(sheet.Pix[3*(labelHeight+y)*sheet.W:][:3*a.W], a.Pix[3*y*a.W:][:3*a.W]) {
			t.Fatalf("row %d of the first panel differs", y)
		}
	}
	dark := 0
	for _, v := range sheet.Pix[:3*labelHeight*sheet.W] {
		if v == 0 {
			dark++
		}
	}
	if dark == 0 {
		t.Error("no label is drawn")
	}
	stack, err := Stack([]*RGB{sheet, a})
	if err != nil || stack.W != sheet.W || stack.H != sheet.H+sheetGap+a.H {
		t.Errorf("stack %dx%d (%v)", stack.W, stack.H, err)
	}
	if _, err := Sheet(nil); err == nil {
		t.Error("an empty sheet was made")
	}
}

func TestPNGRoundTrip(t *testing.T) {
	dir := t.TempDir()
	p := checkered(13, 9)
	path := filepath.Join(dir, "p.png")
	if err := p.SavePNG(path); err != nil {
		t.Fatal(err)
	}
	back, err := ReadFile(path)
	if err != nil || !bytes.Equal(back.Pix, p.Pix) {
		t.Errorf("pixels differ (%v)", err)
	}
	m := ellipse(13, 9)
	if err := m.SavePNG(path); err != nil {
		t.Fatal(err)
	}
	mask, err := ReadMask(path, MaskOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range m.Pix {
		if mask.Pix[i] != v {
			t.Fatalf("mask value %d is %v, want %v", i, mask.Pix[i], v)
		}
	}
}
