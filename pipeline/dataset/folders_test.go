package dataset

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fails checks that an error is of a kind and mentions the given parts.
func fails(t *testing.T, err, kind error, parts ...string) {
	t.Helper()
	var e *Error
	if !errors.Is(err, kind) || !errors.As(err, &e) {
		t.Fatalf("error %v, want one of kind %v", err, kind)
	}
	if want := map[bool]int{true: 2, false: 3}[kind == ErrTooFew]; e.ExitCode() != want {
		t.Errorf("exit code %d, want %d", e.ExitCode(), want)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%q lacks %q", err, p)
		}
	}
}

func TestTreeIsSortedAndPaired(t *testing.T) {
	images, masks := made(t, 3, 2)
	write(t, images, "class01/notes.txt", nil)
	write(t, images, "class01/.hidden.jpg", nil)
	write(t, images, "README", nil)
	samples, err := Tree(images, masks)
	if err != nil {
		t.Fatal(err)
	}
	if len(samples) != 6 {
		t.Fatalf("%d samples", len(samples))
	}
	for i, s := range samples {
		want := Sample{
			ID:        []string{"class00", "class01", "class02"}[i/2] + "/" + []string{"img00.jpg", "img01.jpg"}[i%2],
			Class:     []string{"class00", "class01", "class02"}[i/2],
			Label:     NoLabel,
			ImagePath: s.ImagePath, MaskPath: s.MaskPath,
		}
		if s != want {
			t.Errorf("%+v, want %+v", s, want)
		}
		if rel, _ := filepath.Rel(masks, s.MaskPath); filepath.ToSlash(rel) != strings.TrimSuffix(s.ID, ".jpg")+".png" {
			t.Errorf("mask %s of %s", rel, s.ID)
		}
	}
	if samples, err = Tree(images, ""); err != nil || len(samples) != 6 || samples[0].MaskPath != "" {
		t.Errorf("without masks: %+v (%v)", samples, err)
	}
}

func TestTreeFollowsLinks(t *testing.T) {
	images, _ := made(t, 1, 2)
	root := t.TempDir()
	if err := os.Symlink(filepath.Join(images, "class00"), filepath.Join(root, "linked")); err != nil {
		t.Skip(err)
	}
	samples, err := Tree(root, "")
	if err != nil || len(samples) != 2 || samples[0].Class != "linked" {
		t.Errorf("%+v (%v)", samples, err)
	}
}

func TestFlatPairsByStem(t *testing.T) {
	images, masks := made(t, 1, 3)
	images, masks = filepath.Join(images, "class00"), filepath.Join(masks, "class00")
	samples, err := Flat(images, masks)
	if err != nil || len(samples) != 3 || samples[2].ID != "img02.jpg" || samples[2].Class != "" {
		t.Errorf("%+v (%v)", samples, err)
	}
}

func TestBrokenFoldersSayWhatAndWhere(t *testing.T) {
	remove := func(path string) {
		t.Helper()
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("missing mask", func(t *testing.T) {
		images, masks := made(t, 2, 2)
		remove(filepath.Join(masks, "class01/img01.png"))
		_, err := Tree(images, masks)
		fails(t, err, ErrMissing, filepath.Join(masks, "class01", "img01.png"), filepath.Join(images, "class01", "img01.jpg"), "2 images, 1 masks", "make the mask")
	})
	t.Run("too many masks", func(t *testing.T) {
		images, masks := made(t, 2, 2)
		remove(filepath.Join(images, "class00/img00.jpg"))
		_, err := Tree(images, masks)
		fails(t, err, ErrCount, "2 masks for 1 images", "img00.png")
	})
	t.Run("class without masks", func(t *testing.T) {
		images, masks := made(t, 2, 1)
		remove(filepath.Join(masks, "class01"))
		_, err := Tree(images, masks)
		fails(t, err, ErrMissing, filepath.Join(masks, "class01"), "class class01")
	})
	t.Run("class without images", func(t *testing.T) {
		images, masks := made(t, 2, 1)
		remove(filepath.Join(images, "class01"))
		_, err := Tree(images, masks)
		fails(t, err, ErrMissing, filepath.Join(images, "class01"), "masks for class class01 exist")
	})
	t.Run("empty class", func(t *testing.T) {
		images, _ := made(t, 1, 1)
		write(t, images, "zebra/notes.txt", nil)
		_, err := Tree(images, "")
		fails(t, err, ErrEmpty, "zebra", ".jpg")
	})
	t.Run("absent folder", func(t *testing.T) {
		_, err := Tree(filepath.Join(t.TempDir(), "nowhere"), "")
		fails(t, err, ErrMissing, "nowhere")
	})
	t.Run("flat as tree", func(t *testing.T) {
		images, _ := made(t, 1, 1)
		_, err := Tree(filepath.Join(images, "class00"), "")
		fails(t, err, ErrMissing, "layout flat")
	})
	t.Run("tree as flat", func(t *testing.T) {
		images, _ := made(t, 1, 1)
		_, err := Flat(images, "")
		fails(t, err, ErrEmpty, "layout folders")
	})
	t.Run("two images for one mask", func(t *testing.T) {
		images, masks := made(t, 1, 1)
		write(t, images, "class00/img00.png", nil)
		_, err := Tree(images, masks)
		fails(t, err, ErrCount, "img00.png", "img00.jpg", "rename")
	})
}
