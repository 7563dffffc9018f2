package ort

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
)

// releases describes a release of ONNX Runtime, its files and their hashes.
const releases = "https://api.github.com/repos/microsoft/onnxruntime/releases/tags/v"

func fetchGitHub(ctx context.Context, b build, dir string, progress io.Writer) (string, error) {
	return fetchRelease(ctx, releases+b.version, b.pack, dir, progress)
}

// fetchRelease downloads the file called name of the release described at url,
// and checks it against the digest given there.
func fetchRelease(ctx context.Context, url, name, dir string, progress io.Writer) (string, error) {
	var release struct {
		Assets []struct {
			Name   string
			Size   int64
			Digest string
			URL    string `json:"browser_download_url"`
		}
	}
	body, err := get(ctx, url)
	if err != nil {
		return "", err
	}
	defer body.Close()
	if err := json.NewDecoder(io.LimitReader(body, 16<<20)).Decode(&release); err != nil {
		return "", fmt.Errorf("reading %s: %w", url, err)
	}
	for _, a := range release.Assets {
		if a.Name != name {
			continue
		}
		fmt.Fprintf(progress, "  %s, %d MB\n", a.URL, a.Size/1e6)
		dst := filepath.Join(dir, name)
		digest, err := download(ctx, a.URL, dst)
		if err != nil {
			return "", err
		}
		if digest != a.Digest {
			return "", fmt.Errorf("%s has digest %s, its publisher says %q", a.URL, digest, a.Digest)
		}
		return dst, nil
	}
	return "", fmt.Errorf("the release at %s has no file %s", url, name)
}

func download(ctx context.Context, url, dst string) (digest string, err error) {
	body, err := get(ctx, url)
	if err != nil {
		return "", err
	}
	defer body.Close()
	f, err := os.Create(dst)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(f, h), body); err != nil {
		return "", fmt.Errorf("downloading %s: %w", url, err)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), f.Close()
}

func get(ctx context.Context, url string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("getting %s: %s", url, resp.Status)
	}
	return resp.Body, nil
}
