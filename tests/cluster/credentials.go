package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// credentials are made anew for each run; they live and die with its folder.
type credentials struct {
	dir          string
	ca           []byte // PEM
	adminToken   string
	limitedToken string
}

func (c *credentials) file(name string) string { return filepath.Join(c.dir, name) }

// newCredentials writes the CA, the API server's certificate, the key that signs service account tokens and
// the file of bearer tokens. `admin` may do everything; `limited` may log in and nothing else.
func newCredentials(dir string) (*credentials, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	c := &credentials{dir: dir, adminToken: randomToken(), limitedToken: randomToken()}
	now := time.Now()
	authority := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "test control plane CA"},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature | x509.KeyUsageCRLSign,
	}
	authorityKey, err := c.writeKey("ca.key")
	if err != nil {
		return nil, err
	}
	if c.ca, err = c.writeCertificate("ca.crt", authority, authority, authorityKey, authorityKey); err != nil {
		return nil, err
	}
	serving := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "kube-apiserver"},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"},
		IPAddresses:  []net.IP{net.ParseIP("127.0.0.1"), net.ParseIP(apiServiceAddress)},
	}
	servingKey, err := c.writeKey("apiserver.key")
	if err != nil {
		return nil, err
	}
	if _, err = c.writeCertificate("apiserver.crt", serving, authority, servingKey, authorityKey); err != nil {
		return nil, err
	}
	if _, err = c.writeKey("service-account.key"); err != nil {
		return nil, err
	}
	tokens := c.adminToken + ",admin,admin,system:masters\n" + c.limitedToken + ",limited,limited\n"
	return c, os.WriteFile(c.file("tokens.csv"), []byte(tokens), 0o600)
}

func (c *credentials) writeKey(name string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	return key, os.WriteFile(c.file(name), text, 0o600)
}

func (c *credentials) writeCertificate(
	name string, certificate, issuer *x509.Certificate, key, issuerKey crypto.Signer,
) ([]byte, error) {
	der, err := x509.CreateCertificate(rand.Reader, certificate, issuer, key.Public(), issuerKey)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return text, os.WriteFile(c.file(name), text, 0o600)
}

// writeKubeconfig leaves the CA in the file rather than beside it: a kubeconfig with paths in it is one that
// programs refuse when it comes from elsewhere, and tests upload these.
func (c *credentials) writeKubeconfig(path, server, user, token string) error {
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters:
- name: test
  cluster:
    server: %s
    certificate-authority-data: %s
users:
- name: %s
  user:
    token: %s
contexts:
- name: test
  context:
    cluster: test
    user: %s
current-context: test
`, server, base64.StdEncoding.EncodeToString(c.ca), user, token, user)
	return os.WriteFile(path, []byte(text), 0o600)
}

func randomToken() string {
	bytes := make([]byte, 16)
	_, _ = rand.Read(bytes) // never fails, says crypto/rand
	return hex.EncodeToString(bytes)
}
