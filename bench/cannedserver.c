/* The benchmarks' server: answers MongoDB commands with canned replies at next to no cost.
 *
 * One thread, epoll. It knows the wire framing, hello, a real SCRAM-SHA-256 login, and a table of
 * replies that bench/server.py wrote; it counts what it sees, so that a benchmark can be checked.
 * It knows nothing of a command beyond its name, its collection and how many documents it has.
 *
 *   cannedserver REPLIES USER SALT ITERATIONS STORED_KEY SERVER_KEY     (the last two in hex)
 *
 * prints its port, then obeys lines on standard input with one line each: "counts", "reset",
 * "auth on", "auth off", "record PATH", "record" (stop). It ends when standard input does.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "sha256.h"

enum { OP_REPLY = 1, OP_QUERY = 2004, OP_MSG = 2013 };
enum { MORE_TO_COME = 2, CHECKSUM_PRESENT = 1 };
enum { MAX_MESSAGE = 48000000, MAX_COMMANDS = 64, SMALL = 8192, NAME = 64 };

typedef struct {
    char key[NAME];
    uint8_t *body;
    uint32_t size;
} canned;

typedef struct {
    int fd;
    uint8_t *in;
    size_t have, capacity;
    uint8_t small[SMALL]; /* header, and the whole of a small reply */
    size_t small_size;
    const uint8_t *large; /* the body of a large reply */
    size_t large_size, sent;
    int waiting; /* for the socket to take more */
    int authenticated, step, skip;
    char first_bare[512], server_first[768], nonce[512];
} connection;

typedef struct {
    char name[NAME];
    long long count;
} counter;

static struct {
    long long accepted, open, messages, hellos, logins, failed_logins, unauthenticated, errors;
    long long bytes_in, bytes_out, documents, sessions, transactions;
} counts;
static counter commands[MAX_COMMANDS];
static int command_count;

static canned *replies;
static size_t reply_count;
static const canned *hello;
static const char *user, *salt, *iterations;
static uint8_t stored_key[32], server_key[32];
static int auth_required, poller;
static FILE *record;
static int32_t next_id;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static int32_t load32(const uint8_t *p) {
    int32_t v;
    memcpy(&v, p, 4);
    return v;
}
static void store32(uint8_t *p, int32_t v) { memcpy(p, &v, 4); }

/* --- BSON, as much as is needed to find a field --------------------------------------------- */

typedef struct {
    uint8_t type;
    const char *name;
    const uint8_t *value;
    size_t size;
} element;

/* The size of a value, or -1. */
static long value_size(uint8_t type, const uint8_t *p, size_t left) {
    int32_t n = left >= 4 ? load32(p) : -1;
    switch (type) {
    case 0x01: case 0x09: case 0x11: case 0x12: return 8;
    case 0x02: case 0x0d: case 0x0e: return n < 1 ? -1 : 4L + n;
    case 0x03: case 0x04: case 0x0f: return n < 5 ? -1 : n;
    case 0x05: return n < 0 ? -1 : 5L + n;
    case 0x06: case 0x0a: case 0x7f: case 0xff: return 0;
    case 0x07: return 12;
    case 0x08: return 1;
    case 0x0b: {
        const uint8_t *end = memchr(p, 0, left);
        const uint8_t *second = end ? memchr(end + 1, 0, left - (size_t)(end + 1 - p)) : NULL;
        return second ? second + 1 - p : -1;
    }
    case 0x10: return 4;
    case 0x13: return 16;
    default: return -1;
    }
}

/* Steps to the next element of a document whose size was checked; returns 0 at its end or where
   it is not BSON. `*at` begins at 4. */
static int next_element(const uint8_t *document, size_t size, size_t *at, element *e) {
    if (*at + 1 >= size) return 0;
    e->type = document[*at];
    e->name = (const char *)document + *at + 1;
    const uint8_t *end = memchr(e->name, 0, size - *at - 1);
    if (!end) return 0;
    e->value = end + 1;
    size_t left = size - (size_t)(e->value - document);
    long n = value_size(e->type, e->value, left);
    if (n < 0 || (size_t)n >= left + (n == 0)) return 0;
    e->size = (size_t)n;
    *at = (size_t)(e->value - document) + (size_t)n;
    return 1;
}

static int find(const uint8_t *document, size_t size, const char *name, element *e) {
    size_t at = 4;
    while (next_element(document, size, &at, e))
        if (!strcmp(e->name, name)) return 1;
    return 0;
}

/* A document's size if it fits in `left`, or 0. */
static size_t document_size(const uint8_t *p, size_t left) {
    if (left < 5) return 0;
    int32_t n = load32(p);
    return n >= 5 && (size_t)n <= left ? (size_t)n : 0;
}

static uint8_t *put(uint8_t *p, const void *data, size_t n) {
    memcpy(p, data, n);
    return p + n;
}

static uint8_t *put_name(uint8_t *p, uint8_t type, const char *name) {
    *p++ = type;
    return put(p, name, strlen(name) + 1);
}

static uint8_t *put_sasl(uint8_t *p, const char *payload, int done) {
    int32_t n = (int32_t)strlen(payload), one = 1;
    double ok = 1.0;
    p = put(put_name(p, 0x10, "conversationId"), &one, 4);
    p = put_name(p, 0x08, "done");
    *p++ = (uint8_t)done;
    p = put(put_name(p, 0x05, "payload"), &n, 4);
    *p++ = 0;
    p = put(p, payload, (size_t)n);
    return put(put_name(p, 0x01, "ok"), &ok, 8);
}

/* --- SCRAM-SHA-256 --------------------------------------------------------------------------- */

static int scram_start(connection *c, const uint8_t *command, size_t size) {
    element e;
    char payload[512];
    c->step = 0;
    if (!find(command, size, "mechanism", &e) || strcmp((const char *)e.value + 4, "SCRAM-SHA-256"))
        return 0;
    c->skip = 0;
    if (find(command, size, "options", &e) && e.type == 0x03) {
        element skip;
        if (find(e.value, e.size, "skipEmptyExchange", &skip)) c->skip = skip.value[0];
    }
    if (!find(command, size, "payload", &e) || e.type != 0x05 || e.size - 5 >= sizeof payload)
        return 0;
    memcpy(payload, e.value + 5, e.size - 5);
    payload[e.size - 5] = 0;
    char expected[256];
    snprintf(expected, sizeof expected, "n,,n=%s,r=", user);
    if (strncmp(payload, expected, strlen(expected))) return 0;
    snprintf(c->first_bare, sizeof c->first_bare, "%s", payload + 3);
    uint8_t random[18];
    char ours[25] = {0};
    if (getrandom(random, sizeof random, 0) != sizeof random) die("getrandom");
    base64_encode(random, sizeof random, ours);
    snprintf(c->nonce, sizeof c->nonce, "%.400s%s", payload + strlen(expected), ours);
    snprintf(c->server_first, sizeof c->server_first, "r=%s,s=%.80s,i=%.20s", c->nonce, salt,
             iterations);
    c->step = 1;
    return 1;
}

/* Verifies the client's proof; writes "v=..." and returns 1 if it is right. */
static int scram_finish(connection *c, const uint8_t *command, size_t size, char out[64]) {
    element e;
    char payload[1024], message[2048], wanted[600];
    uint8_t signature[32], proof[32], digest[32];
    if (c->step != 1 || !find(command, size, "payload", &e) || e.type != 0x05 ||
        e.size - 5 >= sizeof payload)
        return 0;
    memcpy(payload, e.value + 5, e.size - 5);
    payload[e.size - 5] = 0;
    snprintf(wanted, sizeof wanted, "c=biws,r=%s,p=", c->nonce);
    if (strncmp(payload, wanted, strlen(wanted))) return 0;
    char *p = payload + strlen(wanted);
    if (!base64_decode32(p, strlen(p), proof)) return 0;
    int n = snprintf(message, sizeof message, "%s,%s,%.*s", c->first_bare, c->server_first,
                     (int)(strlen(wanted) - 3), payload);
    hmac_sha256(stored_key, message, (size_t)n, signature);
    for (int i = 0; i < 32; i++) proof[i] ^= signature[i];
    sha256 s;
    sha256_init(&s);
    sha256_add(&s, proof, 32);
    sha256_end(&s, digest);
    if (memcmp(digest, stored_key, 32)) return 0;
    hmac_sha256(server_key, message, (size_t)n, signature);
    out[0] = 'v';
    out[1] = '=';
    out[2 + base64_encode(signature, 32, out + 2)] = 0;
    return 1;
}

/* --- answers --------------------------------------------------------------------------------- */

static const canned *look_up(const char *key) {
    for (size_t i = 0; i < reply_count; i++)
        if (!strcmp(replies[i].key, key)) return &replies[i];
    return NULL;
}

static void count_command(const char *name) {
    for (int i = 0; i < command_count; i++)
        if (!strcmp(commands[i].name, name)) {
            commands[i].count++;
            return;
        }
    if (command_count == MAX_COMMANDS) {
        counts.errors++;
        return;
    }
    snprintf(commands[command_count].name, NAME, "%s", name);
    commands[command_count++].count = 1;
}

/* The answer is made behind a header whose fields `send_answer` fills in. */
static uint8_t *begin_document(connection *c, int legacy) {
    uint8_t *p = c->small + 16;
    memset(p, 0, 20);
    if (legacy) store32(p + 16, 1);
    return p + (legacy ? 20 : 5) + 4; /* behind the document's length */
}

static void end_document(connection *c, int legacy, uint8_t *p) {
    uint8_t *start = c->small + 16 + (legacy ? 20 : 5);
    *p++ = 0;
    store32(start, (int32_t)(p - start));
    c->small_size = (size_t)(p - c->small);
    c->large = NULL;
    c->large_size = 0;
}

static void use_canned(connection *c, const canned *r) {
    if (r->size <= SMALL - 16) {
        memcpy(c->small + 16, r->body, r->size);
        c->small_size = 16 + r->size;
        c->large = NULL;
        c->large_size = 0;
    } else {
        c->small_size = 16;
        c->large = r->body;
        c->large_size = r->size;
    }
}

static void answer_hello(connection *c, const uint8_t *command, size_t size, int legacy) {
    element e, inner;
    double ok = 1.0;
    counts.hellos++;
    uint8_t *p = begin_document(c, legacy);
    p = put(p, hello->body + 4, hello->size - 5);
    if (find(command, size, "saslSupportedMechs", &e)) {
        static const uint8_t mechanisms[] = "\x1c\0\0\0\x02" "0\0\x0e\0\0\0SCRAM-SHA-256\0";
        p = put(put_name(p, 0x04, "saslSupportedMechs"), mechanisms, sizeof mechanisms);
        store32(p - sizeof mechanisms, (int32_t)sizeof mechanisms);
    }
    if (find(command, size, "speculativeAuthenticate", &e) && e.type == 0x03 &&
        find(e.value, e.size, "saslStart", &inner) && scram_start(c, e.value, e.size)) {
        p = put_name(p, 0x03, "speculativeAuthenticate");
        uint8_t *start = p;
        p = put_sasl(p + 4, c->server_first, 0);
        *p++ = 0;
        store32(start, (int32_t)(p - start));
    }
    p = put(put_name(p, 0x01, "ok"), &ok, 8);
    end_document(c, legacy, p);
}

static void answer_error(connection *c, int32_t code, const char *message) {
    double no = 0.0;
    int32_t n = (int32_t)strlen(message) + 1;
    uint8_t *p = begin_document(c, 0);
    p = put(put_name(p, 0x01, "ok"), &no, 8);
    p = put(put_name(p, 0x10, "code"), &code, 4);
    p = put(put(put_name(p, 0x02, "errmsg"), &n, 4), message, (size_t)n);
    end_document(c, 0, p);
}

static void answer_sasl(connection *c, const char *name, const uint8_t *command, size_t size) {
    char final[64] = "";
    int good, done = 0;
    if (!strcmp(name, "saslStart")) {
        good = scram_start(c, command, size);
    } else if (c->step == 2) {
        good = done = 1;
    } else {
        good = scram_finish(c, command, size, final);
        if (good) {
            c->step = 2;
            done = c->skip;
        }
    }
    if (!good) {
        counts.failed_logins++;
        c->step = 0;
        answer_error(c, 18, "Authentication failed.");
        return;
    }
    if (done) {
        counts.logins++;
        c->authenticated = 1;
        c->step = 0;
    }
    uint8_t *p = begin_document(c, 0);
    p = put_sasl(p, strcmp(name, "saslStart") ? final : c->server_first, done);
    end_document(c, 0, p);
}

/* How many documents an insert carries, or operations a bulkWrite: in a kind-1 section or in its
 * body. */
static int32_t count_documents(const uint8_t *body, size_t size, const uint8_t *rest,
                               size_t rest_size) {
    element e, item;
    int32_t n = 0;
    while (rest_size > 5) { /* kind-1 sections behind the body */
        size_t section = document_size(rest + 1, rest_size - 1);
        if (rest[0] != 1 || !section) return -1;
        const uint8_t *end = memchr(rest + 5, 0, section - 4);
        if (!end) return -1;
        size_t at = (size_t)(end + 1 - rest);
        int counts_here = strcmp((const char *)rest + 5, "nsInfo") != 0;
        while (at < 1 + section) {
            size_t d = document_size(rest + at, 1 + section - at);
            if (!d) return -1;
            at += d;
            n += counts_here;
        }
        rest += 1 + section;
        rest_size -= 1 + section;
    }
    if (find(body, size, "documents", &e) && e.type == 0x04) {
        size_t at = 4;
        while (next_element(e.value, e.size, &at, &item)) n++;
    }
    return n;
}

/* Answers one message. Returns 0 if it wants no reply, -1 if it is not understood. */
static int answer(connection *c, const uint8_t *message, size_t size) {
    int32_t opcode = load32(message + 12);
    uint32_t flags = 0;
    const uint8_t *body;
    counts.messages++;
    counts.bytes_in += (long long)size;
    if (opcode == OP_QUERY) {
        const uint8_t *end = memchr(message + 20, 0, size - 20);
        if (!end || (size_t)(end - message) + 9 > size) return -1;
        body = end + 9;
    } else if (opcode == OP_MSG && size > 26 && message[20] == 0) {
        flags = (uint32_t)load32(message + 16);
        body = message + 21;
        if (flags & CHECKSUM_PRESENT) size -= 4;
    } else {
        return -1;
    }
    size_t left = size - (size_t)(body - message), n = document_size(body, left), at = 4;
    element first, e;
    if (!n || !next_element(body, n, &at, &first)) return -1;
    const char *name = first.name;
    if (!strcmp(name, "hello") || !strcasecmp(name, "ismaster")) {
        answer_hello(c, body, n, opcode == OP_QUERY);
        return 1;
    }
    if (opcode != OP_MSG) return -1;
    count_command(name);
    if (!strncmp(name, "sasl", 4)) {
        answer_sasl(c, name, body, n);
        return 1;
    }
    while (next_element(body, n, &at, &e)) {
        if (!strcmp(e.name, "lsid")) counts.sessions++;
        if (!strcmp(e.name, "txnNumber")) counts.transactions++;
    }
    if (auth_required && !c->authenticated && strcmp(name, "endSessions")) {
        counts.unauthenticated++;
        answer_error(c, 13, "command requires authentication");
        return 1;
    }
    char key[2 * NAME];
    const canned *r = NULL;
    if (first.type == 0x02) {
        snprintf(key, sizeof key, "%.40s/%.80s", name, (const char *)first.value + 4);
        r = look_up(key);
    } else if (first.type == 0x12) {
        long long cursor;
        memcpy(&cursor, first.value, 8);
        snprintf(key, sizeof key, "%.40s/%lld", name, cursor);
        r = look_up(key);
    }
    if (!r) r = look_up(name);
    if (!r) {
        counts.errors++;
        answer_error(c, 59, "no canned reply for this command");
        return 1;
    }
    use_canned(c, r);
    if (!strcmp(name, "insert") || !strcmp(name, "bulkWrite")) {
        int32_t documents = count_documents(body, n, body + n, left - n);
        if (documents < 0) return -1;
        counts.documents += documents;
        if (name[0] == 'i')
            store32(c->small + 16 + 12, documents); /* the reply begins with an int32 "n" */
    }
    return flags & MORE_TO_COME ? 0 : 1;
}

static int flush(connection *c) {
    size_t total = c->small_size + c->large_size;
    while (c->sent < total) {
        struct iovec parts[2];
        int n = 0;
        size_t skip = c->sent;
        if (skip < c->small_size) {
            parts[n++] = (struct iovec){c->small + skip, c->small_size - skip};
            skip = 0;
        } else {
            skip -= c->small_size;
        }
        if (c->large_size)
            parts[n++] = (struct iovec){(void *)(c->large + skip), c->large_size - skip};
        ssize_t wrote = n == 1 ? send(c->fd, parts[0].iov_base, parts[0].iov_len, MSG_NOSIGNAL)
                               : writev(c->fd, parts, n);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
        if (wrote <= 0) return -1;
        counts.bytes_out += wrote;
        c->sent += (size_t)wrote;
    }
    int waiting = c->sent < total;
    if (waiting != c->waiting) {
        struct epoll_event event = {waiting ? EPOLLOUT : EPOLLIN, {.ptr = c}};
        if (epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event)) die("epoll_ctl");
        c->waiting = waiting;
    }
    return 0;
}

/* Answers the whole messages that are here, until the socket takes no more. */
static int answer_all(connection *c) {
    while (c->have >= 16 && !c->waiting) {
        int32_t size = load32(c->in);
        if (size <= 16 || size > MAX_MESSAGE + 16384) return -1;
        if ((size_t)size > c->capacity) {
            c->capacity = (size_t)size;
            if (!(c->in = realloc(c->in, c->capacity))) die("realloc");
        }
        if (c->have < (size_t)size) break;
        int32_t request_id = load32(c->in + 4);
        int legacy = load32(c->in + 12) == OP_QUERY;
        int replies_to = answer(c, c->in, (size_t)size);
        if (replies_to < 0) return -1;
        size_t total = replies_to ? c->small_size + c->large_size : 0;
        if (record) {
            uint32_t sizes[2] = {(uint32_t)size, (uint32_t)total};
            fwrite(sizes, sizeof sizes, 1, record);
            fwrite(c->in, (size_t)size, 1, record);
        }
        c->have -= (size_t)size;
        memmove(c->in, c->in + size, c->have);
        if (!replies_to) continue;
        store32(c->small, (int32_t)total);
        next_id = (next_id + 1) & 0x7fffffff;
        store32(c->small + 4, next_id);
        store32(c->small + 8, request_id);
        store32(c->small + 12, legacy ? OP_REPLY : OP_MSG);
        c->sent = 0;
        if (flush(c)) return -1;
    }
    return 0;
}

/* The connection can be read, or written. Returns -1 when it is over. */
static int serve(connection *c) {
    if (c->waiting) return flush(c) || answer_all(c) ? -1 : 0;
    for (;;) {
        size_t room = c->capacity - c->have;
        ssize_t got = recv(c->fd, c->in + c->have, room, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return 0;
        if (got <= 0) return c->have ? -1 : -2; /* -2: an orderly end between two messages */
        c->have += (size_t)got;
        if (answer_all(c)) return -1;
        /* Less than there was room for: epoll will say when there is more. */
        if ((size_t)got < room || c->waiting) return 0;
    }
}

static void accept_all(int listener) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), one = 1;
        if (fd < 0) return;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        connection *c = calloc(1, sizeof *c);
        if (!c || !(c->in = malloc(c->capacity = 65536))) die("malloc");
        c->fd = fd;
        struct epoll_event event = {EPOLLIN, {.ptr = c}};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event)) die("epoll_ctl");
        counts.accepted++;
        counts.open++;
    }
}

static void hang_up(connection *c) {
    close(c->fd);
    free(c->in);
    free(c);
    counts.open--;
}

/* --- orders ---------------------------------------------------------------------------------- */

static void print_counts(void) {
    printf("{\"accepted\": %lld, \"open\": %lld, \"messages\": %lld, \"hellos\": %lld, "
           "\"logins\": %lld, \"failed_logins\": %lld, \"unauthenticated\": %lld, "
           "\"errors\": %lld, \"bytes_in\": %lld, \"bytes_out\": %lld, \"documents\": %lld, "
           "\"sessions\": %lld, \"transactions\": %lld, \"commands\": {",
           counts.accepted, counts.open, counts.messages, counts.hellos, counts.logins,
           counts.failed_logins, counts.unauthenticated, counts.errors, counts.bytes_in,
           counts.bytes_out, counts.documents, counts.sessions, counts.transactions);
    for (int i = 0; i < command_count; i++)
        printf("%s\"%s\": %lld", i ? ", " : "", commands[i].name, commands[i].count);
    printf("}}\n");
}

static void obey(char *line) {
    if (!strcmp(line, "counts")) {
        print_counts();
    } else if (!strcmp(line, "reset")) {
        long long open = counts.open;
        memset(&counts, 0, sizeof counts);
        counts.open = open;
        command_count = 0;
        puts("{}");
    } else if (!strcmp(line, "auth on") || !strcmp(line, "auth off")) {
        auth_required = !strcmp(line, "auth on");
        puts("{}");
    } else if (!strncmp(line, "record", 6)) {
        if (record && fclose(record)) die("the record");
        record = NULL;
        if (line[6] && !(record = fopen(line + 7, "wb"))) die(line + 7);
        puts("{}");
    } else {
        puts("{\"failed\": \"no such order\"}");
    }
    fflush(stdout);
}

/* Reads orders; returns 0 at the end of standard input. */
static int read_orders(void) {
    static char line[4096];
    static size_t have;
    ssize_t got = read(0, line + have, sizeof line - 1 - have);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) return 1;
    if (got <= 0) return 0;
    have += (size_t)got;
    char *end;
    while ((end = memchr(line, '\n', have))) {
        *end = 0;
        obey(line);
        have -= (size_t)(end + 1 - line);
        memmove(line, end + 1, have);
    }
    return have < sizeof line - 1;
}

/* The file is a row of: key (NUL-terminated), size of the body (uint32), body. */
static void load_replies(const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f) die(path);
    int ch;
    while ((ch = getc(f)) != EOF) {
        canned r = {.size = 0};
        size_t n = 0;
        for (; ch > 0 && n < NAME - 1; ch = getc(f)) r.key[n++] = (char)ch;
        if (ch != 0 || fread(&r.size, 4, 1, f) != 1 || !(r.body = malloc(r.size)) ||
            fread(r.body, 1, r.size, f) != r.size) {
            fprintf(stderr, "%s is not a file of replies\n", path);
            exit(1);
        }
        if (!(replies = realloc(replies, (reply_count + 1) * sizeof *replies))) die("realloc");
        replies[reply_count++] = r;
    }
    fclose(f);
    hello = look_up("hello");
    if (!hello || hello->size > 2048) {
        fprintf(stderr, "%s has no reply to hello, or too large a one\n", path);
        exit(1);
    }
}

/* A replica set's member says its own address: hello has "127.0.0.1:00000" in its place. */
static void write_port(int port) {
    static const char blank[] = "127.0.0.1:00000";
    char address[sizeof blank];
    snprintf(address, sizeof address, "127.0.0.1:%05d", port % 100000);
    uint8_t *at = hello->body, *end = hello->body + hello->size;
    while ((at = memmem(at, (size_t)(end - at), blank, sizeof blank)))
        memcpy(at, address, sizeof address);
}

static void load_hex(const char *text, uint8_t out[32]) {
    for (int i = 0; i < 32; i++) {
        unsigned byte;
        if (sscanf(text + 2 * i, "%2x", &byte) != 1) {
            fprintf(stderr, "a key is not 64 hexadecimal digits\n");
            exit(1);
        }
        out[i] = (uint8_t)byte;
    }
}

int main(int argc, char **argv) {
    if (argc != 7) {
        fprintf(stderr, "cannedserver REPLIES USER SALT ITERATIONS STORED_KEY SERVER_KEY\n");
        return 2;
    }
    load_replies(argv[1]);
    user = argv[2];
    salt = argv[3];
    iterations = argv[4];
    load_hex(argv[5], stored_key);
    load_hex(argv[6], server_key);

    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, length) ||
        listen(listener, 512) || getsockname(listener, (struct sockaddr *)&address, &length))
        die("listen");
    write_port(ntohs(address.sin_port));
    printf("{\"port\": %d}\n", ntohs(address.sin_port));
    fflush(stdout);

    poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event on_accept = {EPOLLIN, {.ptr = &listener}}, on_order = {EPOLLIN, {.ptr = &poller}};
    if (poller < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, listener, &on_accept) ||
        epoll_ctl(poller, EPOLL_CTL_ADD, 0, &on_order))
        die("epoll");
    for (;;) {
        struct epoll_event events[128];
        int n = epoll_wait(poller, events, 128, -1);
        if (n < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == &listener) {
                accept_all(listener);
            } else if (events[i].data.ptr == &poller) {
                if (!read_orders()) return 0;
            } else {
                int result = serve(events[i].data.ptr);
                if (result == -1) counts.errors++;
                if (result) hang_up(events[i].data.ptr);
            }
        }
    }
}
