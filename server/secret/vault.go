package secret

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"gocloud.dev/gcerrors"
	"gocloud.dev/secrets"
)

// vaultScheme is "hashivault://NAME": a key of the transit engine of a Vault
// or OpenBao server. The address and the token come from the environment, so
// that the token appears in no file and no list of processes.
const vaultScheme = "hashivault"

// The environment of a vault, under the names that other programs use.
const (
	envVaultURL   = "VAULT_SERVER_URL"
	envVaultToken = "VAULT_SERVER_TOKEN"
)

// maxVaultAnswer bounds what is read of an answer, vaultTimeout a call.
const (
	maxVaultAnswer = 1 << 20
	vaultTimeout   = 15 * time.Second
)

// A vault is a driver of gocloud.dev/secrets for the transit engine.
type vault struct {
	addr, key, token string
	client           *http.Client
}

var errVault = errors.New("secrets: the vault refused or did not answer")

func openVault(u *url.URL) (*secrets.Keeper, error) {
	addr, token := os.Getenv(envVaultURL), os.Getenv(envVaultToken)
	a, err := url.Parse(addr)
	if err != nil || a.Host == "" || token == "" || u.Host == "" {
		return nil, fmt.Errorf("secrets: hashivault://NAME needs %s and %s in the environment", envVaultURL, envVaultToken)
	}
	return secrets.NewKeeper(&vault{addr: strings.TrimSuffix(addr, "/"), key: u.Host, token: token, client: &http.Client{Timeout: vaultTimeout}}), nil
}

// Encrypt asks the vault to seal.
func (v *vault) Encrypt(ctx context.Context, plain []byte) ([]byte, error) {
	var q struct {
		Plaintext []byte `json:"plaintext"`
	}
	var a struct {
		Data struct {
			Ciphertext string `json:"ciphertext"`
		} `json:"data"`
	}
	q.Plaintext = plain
	if err := v.call(ctx, "encrypt", q, &a); err != nil {
		return nil, err
	}
	if a.Data.Ciphertext == "" {
		return nil, errVault
	}
	return []byte(a.Data.Ciphertext), nil
}

// Decrypt asks the vault to open.
func (v *vault) Decrypt(ctx context.Context, sealed []byte) ([]byte, error) {
	var q struct {
		Ciphertext string `json:"ciphertext"`
	}
	var a struct {
		Data struct {
			Plaintext []byte `json:"plaintext"`
		} `json:"data"`
	}
	q.Ciphertext = string(sealed)
	if err := v.call(ctx, "decrypt", q, &a); err != nil {
		return nil, err
	}
	return a.Data.Plaintext, nil
}

func (v *vault) call(ctx context.Context, what string, q, a any) error {
	body, err := json.Marshal(q)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, v.addr+"/v1/transit/"+what+"/"+url.PathEscape(v.key), bytes.NewReader(body))
	if err != nil {
		return errVault
	}
	req.Header.Set("X-Vault-Token", v.token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := v.client.Do(req)
	if err != nil {
		return errVault
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: status %d", errVault, resp.StatusCode)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxVaultAnswer)).Decode(a); err != nil {
		return errVault
	}
	return nil
}

// Close lets go of idle connections.
func (v *vault) Close() error {
	v.client.CloseIdleConnections()
	return nil
}

// ErrorAs finds no other types in errors.
func (v *vault) ErrorAs(error, any) bool { return false }

// ErrorCode tells gocloud.dev nothing more of an error.
func (v *vault) ErrorCode(error) gcerrors.ErrorCode { return gcerrors.Unknown }
