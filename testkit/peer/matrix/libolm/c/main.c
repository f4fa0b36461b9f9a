// A peer for tests: libolm behind a line protocol on standard input and
// output. One request per line, words separated by one space; slots are small
// numbers; bytes are hexadecimal, keys and messages the base64 of libolm. The
// answer is one line, "ok" with words, or "err" with libolm's code.
//
// Randomness comes with the request, so that the same requests give the same
// answers byte for byte.

#include <errno.h>
#include <olm/olm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SLOTS 64
#define WORDS 8

static OlmAccount *accounts[SLOTS];
static OlmSession *sessions[SLOTS];
static OlmOutboundGroupSession *outbounds[SLOTS];
static OlmInboundGroupSession *inbounds[SLOTS];

static char *word[WORDS];
static int words;

static void die(const char *why) {
	fprintf(stderr, "libolm peer: %s\n", why);
	exit(2);
}

static void *get(size_t n) {
	void *p = calloc(1, n ? n : 1);
	if (!p) die("out of memory");
	return p;
}

static char *arg(int i) {
	if (i >= words) die("too few words");
	return word[i];
}

static unsigned slot(int i) {
	unsigned long n = strtoul(arg(i), NULL, 10);
	if (n >= SLOTS) die("no such slot");
	return (unsigned)n;
}

static int digit(char c) {
	if (c >= '0' && c <= '9') return c - '0';
	if (c >= 'a' && c <= 'f') return c - 'a' + 10;
	die("not hexadecimal");
	return 0;
}

// bytes returns word i decoded; "-" is nothing.
static uint8_t *bytes(int i, size_t *n) {
	char *s = arg(i);
	if (!strcmp(s, "-")) s = "";
	*n = strlen(s) / 2;
	uint8_t *b = get(*n);
	for (size_t k = 0; k < *n; k++) b[k] = (uint8_t)(digit(s[2 * k]) << 4 | digit(s[2 * k + 1]));
	return b;
}

static void hex(const uint8_t *b, size_t n) {
	if (!n) putchar('-');
	for (size_t k = 0; k < n; k++) printf("%02x", b[k]);
}

static int fails(size_t r, const char *code) {
	if (r != olm_error()) return 0;
	printf("err %s\n", code);
	return 1;
}

#define ACCOUNT_FAILS(r, a) fails((r), olm_account_last_error(a))
#define SESSION_FAILS(r, s) fails((r), olm_session_last_error(s))
#define OUT_FAILS(r, s) fails((r), olm_outbound_group_session_last_error(s))
#define IN_FAILS(r, s) fails((r), olm_inbound_group_session_last_error(s))

static OlmAccount *account(int i) {
	OlmAccount *a = accounts[slot(i)];
	if (!a) die("empty account slot");
	return a;
}

static OlmSession *session(int i) {
	OlmSession *s = sessions[slot(i)];
	if (!s) die("empty session slot");
	return s;
}

static OlmOutboundGroupSession *outbound(int i) {
	OlmOutboundGroupSession *s = outbounds[slot(i)];
	if (!s) die("empty outbound slot");
	return s;
}

static OlmInboundGroupSession *inbound(int i) {
	OlmInboundGroupSession *s = inbounds[slot(i)];
	if (!s) die("empty inbound slot");
	return s;
}

static OlmSession *new_session(int i) {
	unsigned n = slot(i);
	free(sessions[n]);
	return sessions[n] = olm_session(get(olm_session_size()));
}

static OlmInboundGroupSession *new_inbound(int i) {
	unsigned n = slot(i);
	free(inbounds[n]);
	return inbounds[n] = olm_inbound_group_session(get(olm_inbound_group_session_size()));
}

// account SLOT RANDOM -> keys as JSON
static void do_account(void) {
	unsigned n = slot(1);
	size_t len;
	uint8_t *r = bytes(2, &len);
	free(accounts[n]);
	OlmAccount *a = accounts[n] = olm_account(get(olm_account_size()));
	if (ACCOUNT_FAILS(olm_create_account(a, r, len), a)) return;
	size_t size = olm_account_identity_keys_length(a);
	char *out = get(size + 1);
	if (ACCOUNT_FAILS(olm_account_identity_keys(a, out, size), a)) return;
	printf("ok %s\n", out);
	free(out);
	free(r);
}

// onetime ACCOUNT COUNT RANDOM
static void do_onetime(void) {
	OlmAccount *a = account(1);
	size_t len;
	uint8_t *r = bytes(3, &len);
	if (!ACCOUNT_FAILS(olm_account_generate_one_time_keys(a, strtoul(arg(2), NULL, 10), r, len), a)) puts("ok");
	free(r);
}

// keys ACCOUNT -> unpublished one-time keys as JSON
static void do_keys(void) {
	OlmAccount *a = account(1);
	size_t size = olm_account_one_time_keys_length(a);
	char *out = get(size + 1);
	if (!ACCOUNT_FAILS(olm_account_one_time_keys(a, out, size), a)) printf("ok %s\n", out);
	free(out);
}

// published ACCOUNT
static void do_published(void) {
	OlmAccount *a = account(1);
	if (!ACCOUNT_FAILS(olm_account_mark_keys_as_published(a), a)) puts("ok");
}

// sign ACCOUNT MESSAGE -> signature
static void do_sign(void) {
	OlmAccount *a = account(1);
	size_t len, size = olm_account_signature_length(a);
	uint8_t *m = bytes(2, &len);
	char *out = get(size + 1);
	if (!ACCOUNT_FAILS(olm_account_sign(a, m, len, out, size), a)) printf("ok %s\n", out);
	free(out);
	free(m);
}

// outbound SLOT ACCOUNT IDENTITY ONETIME RANDOM
static void do_outbound(void) {
	OlmSession *s = new_session(1);
	size_t len;
	uint8_t *r = bytes(5, &len);
	char *identity = arg(3), *onetime = arg(4);
	size_t e = olm_create_outbound_session(s, account(2), identity, strlen(identity), onetime, strlen(onetime), r, len);
	if (!SESSION_FAILS(e, s)) puts("ok");
	free(r);
}

// inbound SLOT ACCOUNT IDENTITY BODY
static void do_inbound(void) {
	OlmSession *s = new_session(1);
	char *identity = arg(3), *body = arg(4);
	if (!SESSION_FAILS(olm_create_inbound_session_from(s, account(2), identity, strlen(identity), body, strlen(body)), s)) puts("ok");
}

// remove ACCOUNT SESSION
static void do_remove(void) {
	OlmAccount *a = account(1);
	if (!ACCOUNT_FAILS(olm_remove_one_time_keys(a, session(2)), a)) puts("ok");
}

// matches SESSION IDENTITY BODY -> 0 or 1
static void do_matches(void) {
	OlmSession *s = session(1);
	char *identity = arg(2), *body = arg(3);
	size_t r = olm_matches_inbound_session_from(s, identity, strlen(identity), body, strlen(body));
	if (!SESSION_FAILS(r, s)) printf("ok %zu\n", r);
}

// id SESSION -> id
static void do_id(void) {
	OlmSession *s = session(1);
	size_t size = olm_session_id_length(s);
	char *out = get(size + 1);
	if (!SESSION_FAILS(olm_session_id(s, out, size), s)) printf("ok %s\n", out);
	free(out);
}

// encrypt SESSION RANDOM PLAINTEXT -> type, how much randomness was used, body
static void do_encrypt(void) {
	OlmSession *s = session(1);
	size_t len, n;
	uint8_t *r = bytes(2, &len), *p = bytes(3, &n);
	size_t need = olm_encrypt_random_length(s), type = olm_encrypt_message_type(s);
	size_t size = olm_encrypt_message_length(s, n);
	char *out = get(size + 1);
	if (need > len) die("too little randomness");
	if (!SESSION_FAILS(olm_encrypt(s, p, n, r, need, out, size), s)) printf("ok %zu %zu %s\n", type, need, out);
	free(out);
	free(p);
	free(r);
}

// decrypt SESSION TYPE BODY -> plaintext
static void do_decrypt(void) {
	OlmSession *s = session(1);
	size_t type = strtoul(arg(2), NULL, 10);
	char *body = arg(3);
	size_t n = strlen(body);
	char *copy = get(n + 1);
	memcpy(copy, body, n);
	size_t size = olm_decrypt_max_plaintext_length(s, type, copy, n);
	free(copy);
	if (SESSION_FAILS(size, s)) return;
	uint8_t *out = get(size);
	size_t got = olm_decrypt(s, type, body, n, out, size);
	if (!SESSION_FAILS(got, s)) {
		printf("ok ");
		hex(out, got);
		putchar('\n');
	}
	free(out);
}

// group-outbound SLOT RANDOM -> id
static void do_group_outbound(void) {
	unsigned n = slot(1);
	size_t len;
	uint8_t *r = bytes(2, &len);
	free(outbounds[n]);
	OlmOutboundGroupSession *s = outbounds[n] = olm_outbound_group_session(get(olm_outbound_group_session_size()));
	if (OUT_FAILS(olm_init_outbound_group_session(s, r, len), s)) return;
	size_t size = olm_outbound_group_session_id_length(s);
	uint8_t *out = get(size + 1);
	if (!OUT_FAILS(olm_outbound_group_session_id(s, out, size), s)) printf("ok %s\n", out);
	free(out);
	free(r);
}

// group-key OUTBOUND -> session key
static void do_group_key(void) {
	OlmOutboundGroupSession *s = outbound(1);
	size_t size = olm_outbound_group_session_key_length(s);
	uint8_t *out = get(size + 1);
	if (!OUT_FAILS(olm_outbound_group_session_key(s, out, size), s)) printf("ok %s\n", out);
	free(out);
}

// group-encrypt OUTBOUND PLAINTEXT -> body
static void do_group_encrypt(void) {
	OlmOutboundGroupSession *s = outbound(1);
	size_t n;
	uint8_t *p = bytes(2, &n);
	size_t size = olm_group_encrypt_message_length(s, n);
	uint8_t *out = get(size + 1);
	if (!OUT_FAILS(olm_group_encrypt(s, p, n, out, size), s)) printf("ok %s\n", out);
	free(out);
	free(p);
}

// group-inbound SLOT KEY -> id, first index
static void do_group_inbound(int import) {
	OlmInboundGroupSession *s = new_inbound(1);
	char *k = arg(2);
	size_t r = import ? olm_import_inbound_group_session(s, (uint8_t *)k, strlen(k))
	                  : olm_init_inbound_group_session(s, (uint8_t *)k, strlen(k));
	if (IN_FAILS(r, s)) return;
	size_t size = olm_inbound_group_session_id_length(s);
	uint8_t *out = get(size + 1);
	if (!IN_FAILS(olm_inbound_group_session_id(s, out, size), s))
		printf("ok %s %lu\n", out, (unsigned long)olm_inbound_group_session_first_known_index(s));
	free(out);
}

// group-export INBOUND INDEX -> session key
static void do_group_export(void) {
	OlmInboundGroupSession *s = inbound(1);
	size_t size = olm_export_inbound_group_session_length(s);
	uint8_t *out = get(size + 1);
	if (!IN_FAILS(olm_export_inbound_group_session(s, out, size, (uint32_t)strtoul(arg(2), NULL, 10)), s)) printf("ok %s\n", out);
	free(out);
}

// group-decrypt INBOUND BODY -> index, plaintext
static void do_group_decrypt(void) {
	OlmInboundGroupSession *s = inbound(1);
	char *body = arg(2);
	size_t n = strlen(body);
	uint8_t *copy = get(n + 1);
	memcpy(copy, body, n);
	size_t size = olm_group_decrypt_max_plaintext_length(s, copy, n);
	free(copy);
	if (IN_FAILS(size, s)) return;
	uint8_t *out = get(size);
	uint32_t index;
	size_t got = olm_group_decrypt(s, (uint8_t *)body, n, out, size, &index);
	if (!IN_FAILS(got, s)) {
		printf("ok %lu ", (unsigned long)index);
		hex(out, got);
		putchar('\n');
	}
	free(out);
}

#include "bench.h"

int main(void) {
	static const struct {
		const char *name;
		void (*run)(void);
	} commands[] = {
		{"account", do_account}, {"onetime", do_onetime}, {"keys", do_keys}, {"published", do_published},
		{"sign", do_sign}, {"outbound", do_outbound}, {"inbound", do_inbound}, {"remove", do_remove},
		{"matches", do_matches}, {"id", do_id}, {"encrypt", do_encrypt}, {"decrypt", do_decrypt},
		{"group-outbound", do_group_outbound}, {"group-key", do_group_key}, {"group-encrypt", do_group_encrypt},
		{"group-export", do_group_export}, {"group-decrypt", do_group_decrypt}, {"bench", do_bench},
	};
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	while ((n = getline(&line, &cap, stdin)) > 0) {
		if (line[n - 1] == '\n') line[n - 1] = 0;
		words = 0;
		for (char *w = strtok(line, " "); w && words < WORDS; w = strtok(NULL, " ")) word[words++] = w;
		if (!words) die("empty request");
		size_t i, count = sizeof commands / sizeof *commands;
		if (!strcmp(word[0], "group-inbound")) do_group_inbound(0);
		else if (!strcmp(word[0], "group-import")) do_group_inbound(1);
		else {
			for (i = 0; i < count && strcmp(word[0], commands[i].name); i++) {}
			if (i == count) die("unknown request");
			commands[i].run();
		}
		fflush(stdout);
	}
	return 0;
}
