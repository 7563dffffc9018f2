package pipeline

import (
	"errors"

	"golang.org/x/sys/unix"
)

// exchange swaps two paths in one step. It returns false where the file system
// can't.
func exchange(a, b string) (bool, error) {
	err := unix.RenamexNp(a, b, unix.RENAME_SWAP)
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EINVAL) {
		return false, nil
	}
	return err == nil, err
}
