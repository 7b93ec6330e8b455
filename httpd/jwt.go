package httpd

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// A JWTKey verifies tokens of exactly one algorithm, so that a token can't
// choose how its signature is checked. Make one with ParseJWTKey.
type JWTKey struct {
	Algorithm string // "HS256", "RS256", "ES256" or "EdDSA"
	ID        string // when set, only for tokens whose header has this kid, or none
	Key       any    // []byte, *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

// minSecret is the shortest HS256 secret in bytes (RFC 7518, section 3.2).
const minSecret = 32

// ParseJWTKey makes a key from configured text: for HS256 the secret itself, at
// least 32 bytes; for the others a public key in PEM.
func ParseJWTKey(algorithm, id, text string) (JWTKey, error) {
	key, err := parseKey(algorithm, text)
	if err != nil {
		return JWTKey{}, fmt.Errorf("reading %s key: %w", algorithm, err)
	}
	return JWTKey{Algorithm: algorithm, ID: id, Key: key}, nil
}

func parseKey(algorithm, text string) (any, error) {
	switch algorithm {
	case "HS256":
		if strings.Contains(text, "-----BEGIN") {
			return nil, errors.New("a PEM key is no secret; name its own algorithm (RS256, ES256 or EdDSA)")
		}
		if len(text) < minSecret {
			return nil, fmt.Errorf("the secret has %d bytes; use at least %d random ones", len(text), minSecret)
		}
		return []byte(text), nil
	case "RS256":
		key, err := jwt.ParseRSAPublicKeyFromPEM([]byte(text))
		if err == nil && key.N.BitLen() < 2048 {
			return nil, fmt.Errorf("the key has %d bits; use at least 2048", key.N.BitLen())
		}
		return key, err
	case "ES256":
		key, err := jwt.ParseECPublicKeyFromPEM([]byte(text))
		if err == nil && key.Curve != elliptic.P256() {
			return nil, errors.New("the key is not on the curve P-256")
		}
		return key, err
	case "EdDSA":
		key, err := jwt.ParseEdPublicKeyFromPEM([]byte(text))
		if err != nil {
			return nil, err
		}
		return key.(ed25519.PublicKey), nil
	}
	return nil, errors.New("the algorithm must be HS256, RS256, ES256 or EdDSA")
}

// fits reports whether the key's type is the algorithm's: the guard against a
// public key that is used as an HMAC secret.
func (k JWTKey) fits() bool {
	switch key := k.Key.(type) {
	case []byte:
		return k.Algorithm == "HS256" && len(key) > 0
	case *rsa.PublicKey:
		return k.Algorithm == "RS256"
	case *ecdsa.PublicKey:
		return k.Algorithm == "ES256"
	case ed25519.PublicKey:
		return k.Algorithm == "EdDSA"
	}
	return false
}

// looksLikeJWT reports whether text has a token's three parts.
func looksLikeJWT(text string) bool {
	return strings.Count(text, ".") == 2 && strings.HasPrefix(text, "ey")
}

// verifyJWT checks a token against the configured keys and returns its subject
// and expiry. Errors say what is wrong without repeating the token.
func (s *Settings) verifyJWT(text string, now time.Time) (subject string, expires time.Time, err error) {
	if len(s.JWTKeys) == 0 {
		return "", time.Time{}, errors.New("no JWT keys are configured")
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods([]string{"HS256", "RS256", "ES256", "EdDSA"}),
		jwt.WithExpirationRequired(),
		jwt.WithTimeFunc(func() time.Time { return now }),
	}
	if s.JWTIssuer != "" {
		options = append(options, jwt.WithIssuer(s.JWTIssuer))
	}
	if s.JWTAudience != "" {
		options = append(options, jwt.WithAudience(s.JWTAudience))
	}
	var claims jwt.RegisteredClaims
	if _, err := jwt.NewParser(options...).ParseWithClaims(text, &claims, s.keysFor); err != nil {
		return "", time.Time{}, describeJWT(err)
	}
	return claims.Subject, claims.ExpiresAt.Time, nil
}

// keysFor returns the configured keys that may verify the token: those of the
// algorithm that its header names, and of its kid if it has one.
func (s *Settings) keysFor(t *jwt.Token) (any, error) {
	kid, _ := t.Header["kid"].(string)
	var set jwt.VerificationKeySet
	for _, k := range s.JWTKeys {
		if k.Algorithm == t.Method.Alg() && k.fits() && (k.ID == "" || kid == "" || k.ID == kid) {
			set.Keys = append(set.Keys, k.Key)
		}
	}
	if len(set.Keys) == 0 {
		return nil, errors.New("no key for this algorithm")
	}
	return set, nil
}

func describeJWT(err error) error {
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return errors.New("the token has expired")
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return errors.New("the token lacks a required claim (exp is always required)")
	case errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return errors.New("the token is not valid yet")
	case errors.Is(err, jwt.ErrTokenInvalidIssuer), errors.Is(err, jwt.ErrTokenInvalidAudience):
		return errors.New("the token is for another issuer or audience")
	case errors.Is(err, jwt.ErrTokenMalformed):
		return errors.New("the token is malformed")
	}
	return errors.New("the token's signature is not valid for any configured key")
}
