// Measurements: "bench NAME COUNT" -> nanoseconds per operation. Randomness is
// a counter: no operation waits for it, and nothing here is secret.

static void noise(uint8_t *b, size_t n) {
	static uint64_t x = 88172645463325252ull;
	for (size_t i = 0; i < n; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		b[i] = (uint8_t)x;
	}
}

// now is the time that this process has computed, so that others on the machine
// do not count.
static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void must(size_t r) {
	if (r == olm_error()) die("an operation of the benchmark failed");
}

// field returns the string behind "name":" of JSON.
static char *field(const char *json, const char *name, size_t n) {
	const char *p = strstr(json, name);
	if (!p) die("no such field");
	p += strlen(name);
	char *out = get(n + 1);
	memcpy(out, p, n);
	return out;
}

static OlmAccount *bench_account(char **identity, char **onetime) {
	OlmAccount *a = olm_account(get(olm_account_size()));
	uint8_t r[64];
	char json[512] = {0};
	noise(r, 64);
	must(olm_create_account(a, r, olm_create_account_random_length(a)));
	must(olm_account_identity_keys(a, json, olm_account_identity_keys_length(a)));
	*identity = field(json, "\"curve25519\":\"", 43);
	noise(r, 32);
	must(olm_account_generate_one_time_keys(a, 1, r, 32));
	memset(json, 0, sizeof json);
	must(olm_account_one_time_keys(a, json, olm_account_one_time_keys_length(a)));
	*onetime = field(json, "\"AAAAAQ\":\"", 43);
	return a;
}

static double bench_session(long count) {
	char *identity, *onetime, *i2, *o2;
	OlmAccount *a = bench_account(&i2, &o2);
	bench_account(&identity, &onetime);
	void *memory = get(olm_session_size());
	uint8_t r[64];
	double t = now();
	for (long k = 0; k < count; k++) {
		OlmSession *s = olm_session(memory);
		noise(r, 64);
		must(olm_create_outbound_session(s, a, identity, 43, onetime, 43, r, 64));
	}
	return (now() - t) / (double)count;
}

static size_t olm_send(OlmSession *s, const uint8_t *p, size_t n, char *out) {
	uint8_t r[32];
	noise(r, 32);
	size_t size = olm_encrypt_message_length(s, n);
	must(olm_encrypt(s, p, n, r, olm_encrypt_random_length(s), out, size));
	return size;
}

static void olm_receive(OlmSession *s, size_t type, char *body, size_t n) {
	uint8_t out[4096];
	must(olm_decrypt(s, type, body, n, out, sizeof out));
}

// bench_turn sends messages of 256 bytes to and fro, so that each turns the
// ratchet on both sides.
static double bench_turn(long count) {
	char *ia, *oa, *ib, *ob;
	OlmAccount *a = bench_account(&ia, &oa), *b = bench_account(&ib, &ob);
	OlmSession *s[2] = {olm_session(get(olm_session_size())), olm_session(get(olm_session_size()))};
	uint8_t r[64], text[256] = {0};
	char body[4096], copy[4096];
	noise(r, 64);
	must(olm_create_outbound_session(s[0], a, ib, 43, ob, 43, r, 64));
	size_t n = olm_send(s[0], text, sizeof text, body);
	memcpy(copy, body, n);
	must(olm_create_inbound_session(s[1], b, copy, n));
	olm_receive(s[1], 0, body, n);
	double t = now();
	for (long k = 0; k < count; k++) {
		n = olm_send(s[(k + 1) & 1], text, sizeof text, body);
		olm_receive(s[k & 1], 1, body, n);
	}
	return (now() - t) / (double)count;
}

static OlmOutboundGroupSession *bench_outbound(void) {
	OlmOutboundGroupSession *s = olm_outbound_group_session(get(olm_outbound_group_session_size()));
	uint8_t r[160];
	noise(r, sizeof r);
	must(olm_init_outbound_group_session(s, r, sizeof r));
	return s;
}

static double bench_group_encrypt(long count, size_t n) {
	OlmOutboundGroupSession *s = bench_outbound();
	uint8_t *text = get(n), *out = get(2 * n + 4096);
	double t = now();
	for (long k = 0; k < count; k++) must(olm_group_encrypt(s, text, n, out, olm_group_encrypt_message_length(s, n)));
	return (now() - t) / (double)count;
}

static double bench_group_decrypt(long count) {
	OlmOutboundGroupSession *s = bench_outbound();
	OlmInboundGroupSession *in = olm_inbound_group_session(get(olm_inbound_group_session_size()));
	uint8_t k[1024], text[256] = {0}, body[2048], copy[2048], out[2048];
	uint32_t index;
	size_t n = olm_outbound_group_session_key(s, k, sizeof k);
	must(n);
	must(olm_init_inbound_group_session(in, k, n));
	n = olm_group_encrypt(s, text, sizeof text, body, sizeof body);
	must(n);
	double t = now();
	for (long i = 0; i < count; i++) {
		memcpy(copy, body, n);
		must(olm_group_decrypt(in, copy, n, out, sizeof out, &index));
	}
	return (now() - t) / (double)count;
}

static double bench_onetime(long count) {
	char *i, *o;
	OlmAccount *a = bench_account(&i, &o);
	static uint8_t r[3200];
	double t = now();
	for (long k = 0; k < count; k++) {
		noise(r, sizeof r);
		must(olm_account_generate_one_time_keys(a, 100, r, sizeof r));
	}
	return (now() - t) / (double)count;
}

static void do_bench(void) {
	const char *name = arg(1);
	long count = strtol(arg(2), NULL, 10);
	double ns = 0;
	if (count < 1) die("no count");
	if (!strcmp(name, "session")) ns = bench_session(count);
	else if (!strcmp(name, "turn")) ns = bench_turn(count);
	else if (!strcmp(name, "group-encrypt")) ns = bench_group_encrypt(count, 256);
	else if (!strcmp(name, "group-encrypt-64k")) ns = bench_group_encrypt(count, 65536);
	else if (!strcmp(name, "group-decrypt")) ns = bench_group_decrypt(count);
	else if (!strcmp(name, "onetime")) ns = bench_onetime(count);
	else die("unknown benchmark");
	printf("ok %.1f\n", ns);
}
