package benchmark

import (
	"fmt"
	"strconv"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/pipeline/benchmark/hdf5"
	"github.com/relevit/relevit/pipeline/dataset"
	"github.com/relevit/relevit/pipeline/picture"
)

// segmentation lists ImageNet-segmentation (Guillaumin, Kuettel and Ferrari
// 2014), a MATLAB file: /value/img holds references to pictures (3,W,H), /value/gt
// to cells, whose first reference leads to a mask (W,H).
func (r *reader) segmentation() error {
	if !isFile(r.path) {
		return r.wrong(r.path)
	}
	f, err := hdf5.Open(r.path)
	if err != nil {
		return err
	}
	m := &matlabPictures{file: f}
	if m.images, err = m.cells("/value/img"); err == nil {
		m.masks, err = m.cells("/value/gt")
	}
	if err == nil && len(m.images) != len(m.masks) {
		err = &onnx.FormatError{File: r.path, Offset: -1, Problem: fmt.Sprintf("%d pictures and %d masks", len(m.images), len(m.masks))}
	}
	if err != nil {
		f.Close()
		return err
	}
	r.set.Unlabelled, r.set.Read, r.set.close = true, m.read, f.Close
	for i := range m.images {
		id := fmt.Sprintf("%04d", i+1)
		at := r.path + ":" + id
		r.set.Samples = append(r.set.Samples, dataset.Sample{ID: id, ImagePath: at, MaskPath: at, Label: dataset.NoLabel})
	}
	return nil
}

// matlabPictures are the pictures and masks in a MATLAB file.
type matlabPictures struct {
	file          *hdf5.File
	images, masks []uint64
}

// cells reads a column of references.
func (m *matlabPictures) cells(path string) ([]uint64, error) {
	a, err := m.file.Array(path)
	if err != nil {
		return nil, err
	}
	return a.Refs()
}

// read reads a picture and its mask, of which what isn't 0 is foreground.
func (m *matlabPictures) read(s *dataset.Sample, image *picture.RGB, mask *picture.Gray) error {
	n, err := strconv.Atoi(s.ID)
	if err != nil || n < 1 || n > len(m.images) {
		return fmt.Errorf("there is no picture %s", s.ID)
	}
	pixels, w, h, err := m.levels(m.images[n-1], 3)
	if err != nil {
		return &picture.Error{Path: s.ImagePath, Doing: "read image", Content: true, Err: err}
	}
	rgb := picture.NewRGB(w, h)
	for i := range rgb.Pix { // (H,W,3) of (3,W,H)
		c, x, y := i%3, i/3%w, i/3/w
		rgb.Pix[i] = pixels[(c*w+x)*h+y]
	}
	*image = *rgb
	if mask == nil {
		return nil
	}
	cell, err := m.file.At(m.masks[n-1])
	if err != nil {
		return m.maskError(s, err)
	}
	refs, err := cell.Refs()
	if err == nil && len(refs) == 0 {
		err = fmt.Errorf("its cell of masks is empty")
	}
	if err != nil {
		return m.maskError(s, err)
	}
	labels, mw, mh, err := m.levels(refs[0], 1)
	if err == nil && (mw != w || mh != h) {
		err = fmt.Errorf("%w: the mask is %dx%d, the picture %dx%d", picture.ErrMaskSize, mw, mh, w, h)
	}
	if err != nil {
		return m.maskError(s, err)
	}
	gray := picture.NewGray(w, h)
	for i := range gray.Pix {
		if labels[i%w*h+i/w] != 0 {
			gray.Pix[i] = 1
		}
	}
	*mask = *gray
	return nil
}

func (m *matlabPictures) maskError(s *dataset.Sample, err error) error {
	return &picture.Error{Path: s.ImagePath, Doing: "read mask", Content: true, Err: err}
}

// levels reads an array (W,H), or (channels,W,H) where there are several.
func (m *matlabPictures) levels(reference uint64, channels int) (values []byte, w, h int, err error) {
	a, err := m.file.At(reference)
	if err != nil {
		return nil, 0, 0, err
	}
	d := a.Dims
	if channels > 1 && len(d) > 0 && d[0] == channels {
		d = d[1:]
	}
	if a.References || len(d) != 2 || len(a.Dims) == 3 != (channels > 1) || a.Len() == 0 {
		return nil, 0, 0, fmt.Errorf("an array of %v, expected whole numbers of %d channels, width and height", a.Dims, channels)
	}
	values, err = a.Bytes()
	return values, d[0], d[1], err
}
