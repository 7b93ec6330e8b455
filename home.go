package main

import (
	"crypto/rand"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"carillon/internal/config"
)

// starterScript gives a new home real values at once.
//
//go:embed examples/home/scripts/host.js
var starterScript []byte

// configFile is the name of a home's configuration.
const configFile = "carillon.yaml"

// makeHome makes the folders that a home has and, if there was no home, a
// commented configuration and the starter script. It reports whether there was
// none.
func makeHome(dir string) (made bool, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("opening the home: %w", err)
	}
	made = len(entries) == 0
	for _, folder := range []string{"scripts", "filters", "plugins", "www"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
			return made, fmt.Errorf("making the home: %w", err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o700); err != nil {
		return made, fmt.Errorf("making the home: %w", err)
	}
	if !made {
		return false, nil
	}
	if err := os.WriteFile(filepath.Join(dir, configFile), config.Template(), 0o644); err != nil {
		return made, fmt.Errorf("making the home: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "scripts", "host.js"), starterScript, 0o644); err != nil {
		return made, fmt.Errorf("making the home: %w", err)
	}
	return made, nil
}

// readConfig reads a home's configuration; a home without one has the
// defaults.
func readConfig(dir string) (*config.Config, error) {
	text, err := os.ReadFile(filepath.Join(dir, configFile))
	if errors.Is(err, fs.ErrNotExist) {
		return config.Default(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return config.Parse(configFile, text)
}

// adminToken returns the administrator's token: CARILLON_TOKEN's, or the one
// kept in data/token, which is made when it is missing.
func adminToken(dataDir string) (string, error) {
	if token := os.Getenv("CARILLON_TOKEN"); token != "" {
		return token, checkToken(token, "CARILLON_TOKEN")
	}
	file := filepath.Join(dataDir, "token")
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return makeToken(file)
	}
	if err != nil {
		return "", fmt.Errorf("reading the administrator's token: %w", err)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		return "", fmt.Errorf("keeping the administrator's token to ourselves: %w", err)
	}
	token := strings.TrimSpace(string(text))
	return token, checkToken(token, file)
}

// checkToken refuses what could not be sent in a header, or guessed.
func checkToken(token, where string) error {
	if len(token) < 8 {
		return fmt.Errorf("the token in %s has %d characters; it needs 8 at least (remove it to have one made)", where, len(token))
	}
	if i := strings.IndexFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }); i >= 0 {
		return fmt.Errorf("the token in %s has a character at place %d that a header can't carry; use printable ASCII without spaces", where, i+1)
	}
	return nil
}

func makeToken(file string) (string, error) {
	var random [24]byte
	rand.Read(random[:])
	token := base64.RawURLEncoding.EncodeToString(random[:])
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keeping the administrator's token: %w", err)
	}
	return token, nil
}
