package pipeline

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
)

// maxState bounds state.json, which holds a dozen numbers.
const maxState = 1 << 20

// encode returns the text of state.json, its own checksum in it.
func (s State) encode() ([]byte, error) {
	s.Sum = ""
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, err
	}
	text = append(text, '\n')
	sum := sha256.Sum256(text)
	return bytes.Replace(text, []byte(`"state_sha256": ""`), fmt.Appendf(nil, `"state_sha256": "%x"`, sum), 1), nil
}

var ownSum = regexp.MustCompile(`"state_sha256": "([0-9a-f]{64})"`)

// readState reads the state of a checkpoint; a fault in it is a
// *CheckpointError.
func readState(folder string) (*State, error) {
	f, err := os.Open(filepath.Join(folder, stateName))
	if err != nil {
		return nil, &CheckpointError{Path: folder, Problem: "its state can't be read", Err: err}
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxState))
	if err != nil {
		return nil, &CheckpointError{Path: folder, Problem: "its state can't be read", Err: err}
	}
	s := &State{}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, &CheckpointError{Path: folder, Problem: stateName + " is damaged", Err: err}
	}
	if s.Bytes == nil && s.Sum == "" { // an earlier version wrote it
		return s, nil
	}
	at := ownSum.FindSubmatchIndex(text)
	if at == nil {
		return nil, &CheckpointError{Path: folder, Problem: stateName + " is damaged: it has no state_sha256, its own checksum"}
	}
	h := sha256.New()
	h.Write(text[:at[2]])
	h.Write(text[at[3]:])
	if got := hex.EncodeToString(h.Sum(nil)); got != string(text[at[2]:at[3]]) {
		return nil, &CheckpointError{Path: folder, Problem: fmt.Sprintf("%s is damaged: its SHA-256 is %s, it says %s", stateName, got, text[at[2]:at[3]])}
	}
	return s, nil
}

// earlier reports whether a checkpoint is of a moment of the run before another.
func (s *State) earlier(than *State) bool {
	return s.GlobalStep < than.GlobalStep || s.GlobalStep == than.GlobalStep && s.Epoch < than.Epoch
}
