/* The floor: the least client CPU that an exchange of these bytes can cost, a bare socket loop.
 *
 *   floor PORT RECORD MODE
 *
 * RECORD is what the canned server wrote: a row of request size, reply size (uint32 each) and the
 * request. One operation sends each request with one send() and receives its reply into one
 * buffer. MODE "keep" uses one connection, "reconnect" opens one for each operation. It obeys
 * lines on standard input: "N SLICES" runs SLICES slices of N operations each, and prints them as
 * [[cpu_ns, wall_ns, calibration_ns before, calibration_ns after], ...]. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "calibrate.h"

typedef struct {
    uint32_t request_size, reply_size;
    uint8_t *request;
} exchange;

static exchange *exchanges;
static size_t exchange_count;
static uint8_t *reply;
static struct sockaddr_in address;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static int open_connection(void) {
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) ||
        connect(fd, (struct sockaddr *)&address, sizeof address))
        die("connect");
    return fd;
}

static void operate(int fd) {
    for (size_t i = 0; i < exchange_count; i++) {
        const exchange *e = &exchanges[i];
        for (size_t sent = 0; sent < e->request_size;) {
            ssize_t n = send(fd, e->request + sent, e->request_size - sent, MSG_NOSIGNAL);
            if (n <= 0) die("send");
            sent += (size_t)n;
        }
        for (size_t got = 0; got < e->reply_size;) {
            ssize_t n = recv(fd, reply + got, e->reply_size - got, 0);
            if (n <= 0) die("recv");
            got += (size_t)n;
        }
    }
}

static void load_record(const char *path) {
    FILE *f = fopen(path, "rb");
    uint32_t sizes[2], largest = 0;
    if (!f) die(path);
    while (fread(sizes, sizeof sizes, 1, f) == 1) {
        exchange e = {sizes[0], sizes[1], malloc(sizes[0])};
        if (!e.request || fread(e.request, 1, e.request_size, f) != e.request_size) die("read");
        if (!(exchanges = realloc(exchanges, (exchange_count + 1) * sizeof e))) die("realloc");
        exchanges[exchange_count++] = e;
        if (e.reply_size > largest) largest = e.reply_size;
    }
    fclose(f);
    if (!(reply = malloc(largest + 1))) die("malloc");
    memset(reply, 0, largest + 1);
}

int main(int argc, char **argv) {
    int slices, n;
    if (argc != 4) {
        fprintf(stderr, "floor PORT RECORD keep|reconnect\n");
        return 2;
    }
    int reconnect = !strcmp(argv[3], "reconnect");
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)atoi(argv[1]));
    load_record(argv[2]);
    int fd = reconnect ? -1 : open_connection();
    while (scanf("%d %d", &n, &slices) == 2) {
        int64_t before = calibrate_work();
        printf("[");
        for (int slice = 0; slice < slices; slice++) {
            int64_t cpu = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
            int64_t wall = nanoseconds(CLOCK_MONOTONIC);
            for (int i = 0; i < n; i++) {
                if (reconnect) fd = open_connection();
                operate(fd);
                if (reconnect) close(fd);
            }
            wall = nanoseconds(CLOCK_MONOTONIC) - wall;
            cpu = nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
            int64_t after = calibrate_work();
            printf("%s[%lld, %lld, %lld, %lld]", slice ? ", " : "", (long long)cpu,
                   (long long)wall, (long long)before, (long long)after);
            before = after;
        }
        printf("]\n");
        fflush(stdout);
    }
    return 0;
}
