//go:build !unix

package scripts

import "os"

// readRegular reads the regular file at path.
func readRegular(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", errNotRegular
	}
	return readAll(f)
}
