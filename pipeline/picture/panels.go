package picture

import "fmt"

// Panels takes a sheet of n labelled pictures of one size apart again.
func Panels(sheet *RGB, n int) ([]*RGB, error) {
	width, height := (sheet.W-(n-1)*sheetGap)/n, sheet.H-labelHeight
	if width < 1 || height < 1 || n*width+(n-1)*sheetGap != sheet.W {
		return nil, fmt.Errorf("%d x %d pixels are no sheet of %d pictures", sheet.W, sheet.H, n)
	}
	out := make([]*RGB, n)
	for i := range out {
		out[i] = NewRGB(width, height)
		out[i].paste(sheet, -i*(width+sheetGap), -labelHeight)
	}
	return out, nil
}
