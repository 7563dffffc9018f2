package pipeline

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// CommandRecord is one start of the program on a run.
type CommandRecord struct {
	Command string    `json:"command"`
	Tool    string    `json:"tool"` // its version
	Time    time.Time `json:"time"`
}

// noteCommand adds a command line to those that have worked on the run.
func (r *Run) noteCommand(command, tool string) error {
	if command == "" {
		return nil
	}
	line, err := json.Marshal(CommandRecord{command, tool, time.Now().Round(time.Second)})
	if err != nil {
		return err
	}
	f, err := os.OpenFile(r.Path(commandsName), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
	if err == nil {
		_, err = f.Write(append(line, '\n'))
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("noting the command: %w", err)
	}
	return nil
}

// Commands returns the command lines that have worked on the run, the first of
// which started it. Lines that a full disk or a kill has cut are left out.
func (r *Run) Commands() ([]CommandRecord, error) {
	f, err := os.Open(r.Path(commandsName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the commands of the run: %w", err)
	}
	defer f.Close()
	var out []CommandRecord
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c CommandRecord
		if json.Unmarshal(lines.Bytes(), &c) == nil {
			out = append(out, c)
		}
	}
	return out, lines.Err()
}
