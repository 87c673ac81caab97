/* A session of TLS against OpenSSL's client, without sockets. */
#include "unit/test.h"

#include <openssl/err.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "unit/net/tls_peer.h"

static struct certificates certificates;
static struct certificate *server, *ca, *client, *other_client, *old_client;

static struct tls_files plain_files(void)
{
    return (struct tls_files){server->cert_file, server->key_file, "", "", TLS_AT_LEAST_1_2};
}

static struct tls_files mutual_files(const char *sans)
{
    return (struct tls_files){server->cert_file, server->key_file, ca->cert_file, sans,
                              TLS_AT_LEAST_1_2};
}

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

static bool has(const struct buf *b, const char *text)
{
    return b->len > 0 && memmem(b->base, b->len, text, strlen(text)) != NULL;
}

/* ---- requests ---- */

static void an_answer_in_each_version_however_records_are_cut(void **state)
{
    static const size_t steps[] = {0, 1, 2, 7, 1000};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(steps) * ARRAY_LEN(versions); i++) {
        struct tls_files files = plain_files();
        struct tls_peer p;
        struct buf got = {0};
        size_t step = steps[i / 2];
        tls_peer_open(&p, &files, &(struct tls_peer_opts){.version = versions[i % 2]});
        assert_row(tls_peer_shake(&p, step), "step %zu", step);
        assert_int_equal(p.probe.service.handshakes.value, 1);
        SSL_write(p.ssl, GET, sizeof GET - 1);
        assert_true(tls_peer_move(&p, step));
        assert_int_equal(tls_peer_read(&p, &got), 0);
        assert_row(has(&got, "HTTP/1.1 200"), "step %zu", step);
        assert_true(tls_ops.is_idle(p.session));
        buf_done(&got);
        tls_peer_close(&p);
    }
}

static void a_long_body_arrives_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct tls_files files = plain_files();
        struct tls_peer p;
        struct buf got = {0}, sent = {0};
        tls_peer_open(&p, &files, &(struct tls_peer_opts){.version = versions[i % 2]});
        assert_true(tls_peer_shake(&p, 0));
        buf_printf(&sent, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n");
        for (size_t n = 0; n < 3000000; n++)
            buf_append_byte(&sent, (uint8_t)(n * 31 >> 3));
        while (sent.len > 0) {
            size_t n = sent.len < 40000 ? sent.len : 40000;
            SSL_write(p.ssl, sent.base, (int)n);
            buf_consume(&sent, n);
            for (int turn = 0; turn < 50 && tls_peer_move(&p, i < 2 ? 0 : 65536); turn++)
                tls_peer_read(&p, &got);
        }
        for (int turn = 0; turn < 400; turn++) {
            tls_ops.feed(p.session, (struct span){0});
            tls_peer_move(&p, 0);
            tls_peer_read(&p, &got);
        }
        assert_int_equal(p.probe.requests, 1);
        assert_int_equal(p.probe.largest_body, 3000000);
        buf_done(&got);
        buf_done(&sent);
        tls_peer_close(&p);
    }
}

static void alpn_says_which_http(void **state)
{
    static const struct {
        const char *offer, *agreed;
    } table[] = {
        {"\x02h2", "h2"},
        {"\x08http/1.1", "http/1.1"},
        {"\x08http/1.1\x02h2", "h2"},
        {"\x06spdy/3\x08http/1.1", "http/1.1"},
        {"\x06spdy/3", NULL},
        {"\x08http/1.0", NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct tls_files files = plain_files();
        struct tls_peer p;
        const unsigned char *name;
        unsigned len;
        tls_peer_open(&p, &files,
                      &(struct tls_peer_opts){.version = TLS1_3_VERSION, .alpn = table[i].offer});
        bool is_good = tls_peer_shake(&p, 0);
        assert_row(is_good == (table[i].agreed != NULL), "offer %s", table[i].offer);
        SSL_get0_alpn_selected(p.ssl, &name, &len);
        if (is_good)
            assert_true(span_eq(span_of(name, len), span_str(table[i].agreed)));
        else
            assert_int_equal(p.probe.service.faults[HTTP_FAULT_HANDSHAKE].value, 1);
        tls_peer_close(&p);
    }
}

static void without_alpn_the_first_bytes_do(void **state)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    (void)state;
    struct tls_files files = plain_files();
    struct tls_peer p;
    struct buf got = {0};
    tls_peer_open(&p, &files, &(struct tls_peer_opts){.version = TLS1_3_VERSION});
    assert_true(tls_peer_shake(&p, 0));
    for (size_t i = 0; i < sizeof preface - 1; i++) {
        SSL_write(p.ssl, preface + i, 1);
        assert_true(tls_peer_move(&p, 0));
    }
    assert_int_equal(tls_peer_read(&p, &got), 0);
    assert_true(got.len > 9);
    assert_int_equal(got.base[3], 4); /* SETTINGS */
    buf_done(&got);
    tls_peer_close(&p);
}

/* ---- the end ---- */

static void close_notify_from_us_when_http_has_ended(void **state)
{
    (void)state;
    struct tls_files files = plain_files();
    struct tls_peer p;
    struct buf got = {0};
    tls_peer_open(&p, &files, &(struct tls_peer_opts){.version = TLS1_3_VERSION});
    assert_true(tls_peer_shake(&p, 0));
    const char *last = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    SSL_write(p.ssl, last, (int)strlen(last));
    assert_false(tls_peer_move(&p, 0));
    assert_int_equal(tls_peer_read(&p, &got), SSL_ERROR_ZERO_RETURN);
    assert_true(has(&got, "HTTP/1.1 200"));
    buf_done(&got);
    tls_peer_close(&p);
}

static void who_closes_his_side_still_gets_the_answer(void **state)
{
    (void)state;
    for (int by_tcp = 0; by_tcp < 2; by_tcp++) {
        struct tls_files files = plain_files();
        struct tls_peer p;
        struct buf got = {0};
        tls_peer_open(&p, &files, &(struct tls_peer_opts){.version = TLS1_3_VERSION});
        assert_true(tls_peer_shake(&p, 0));
        const char *held = "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n";
        SSL_write(p.ssl, held, (int)strlen(held));
        if (!by_tcp)
            SSL_shutdown(p.ssl);
        assert_true(tls_peer_move(&p, 0));
        if (by_tcp)
            tls_ops.eof(p.session);
        assert_true(tls_ops.is_waiting(p.session));
        int wakes = p.wakes;
        probe_release(&p.probe);
        assert_true(p.wakes > wakes);
        tls_ops.feed(p.session, (struct span){0});
        tls_peer_move(&p, 0);
        assert_int_equal(tls_peer_read(&p, &got), SSL_ERROR_ZERO_RETURN);
        assert_true(has(&got, "HTTP/1.1 200"));
        assert_true(tls_ops.is_over(p.session));
        buf_done(&got);
        tls_peer_close(&p);
    }
}

static void what_is_cut_off_is_no_request(void **state)
{
    (void)state;
    for (size_t kept = 0; kept < 60; kept++) {
        struct tls_files files = plain_files();
        struct tls_peer p;
        char *at;
        tls_peer_open(&p, &files, &(struct tls_peer_opts){.version = TLS1_3_VERSION});
        assert_true(tls_peer_shake(&p, 0));
        SSL_write(p.ssl, GET, sizeof GET - 1);
        size_t n = (size_t)BIO_get_mem_data(SSL_get_wbio(p.ssl), &at);
        if (kept >= n)
            kept = n - 1;
        tls_ops.feed(p.session, span_of(at, kept));
        tls_ops.eof(p.session);
        assert_true(tls_ops.is_over(p.session));
        assert_int_equal(p.probe.requests, 0);
        assert_int_equal(p.probe.service.faults[HTTP_FAULT_ABORTED].value, kept > 0);
        BIO_reset(SSL_get_wbio(p.ssl));
        tls_peer_close(&p);
        if (kept == n - 1)
            break;
    }
}

/* ---- deadlines ---- */

static void a_handshake_has_the_time_of_a_head_and_a_silent_one_its_own(void **state)
{
    (void)state;
    struct tls_files files = plain_files();
    struct tls_peer p;
    tls_peer_open(&p, &files, &(struct tls_peer_opts){.version = TLS1_3_VERSION});
    SSL_do_handshake(p.ssl);
    tls_peer_move(&p, 0);
    clock_fake_advance(&p.probe.clock, p.probe.service.head_timeout_ms);
    tls_ops.tick(p.session);
    assert_false(tls_ops.is_over(p.session));
    clock_fake_advance(&p.probe.clock, 1);
    tls_ops.tick(p.session);
    assert_true(tls_ops.is_over(p.session));
    assert_int_equal(p.probe.service.faults[HTTP_FAULT_TIMEOUT].value, 1);
    tls_peer_close(&p);

    tls_peer_open(&p, &files, &(struct tls_peer_opts){.version = TLS1_3_VERSION});
    assert_true(tls_peer_shake(&p, 0));
    clock_fake_advance(&p.probe.clock, p.probe.service.silent_timeout_ms);
    tls_ops.tick(p.session);
    assert_false(tls_ops.is_over(p.session));
    clock_fake_advance(&p.probe.clock, 1);
    tls_ops.tick(p.session);
    assert_true(tls_ops.is_over(p.session));
    tls_peer_close(&p);
}

/* ---- what is refused ---- */

static void old_versions_and_weak_suites(void **state)
{
    static const struct {
        int version;
        const char *ciphers;
        enum tls_version least;
        bool is_good;
    } table[] = {
        {TLS1_VERSION, NULL, TLS_AT_LEAST_1_2, false},
        {TLS1_1_VERSION, NULL, TLS_AT_LEAST_1_2, false},
        {TLS1_2_VERSION, NULL, TLS_AT_LEAST_1_2, true},
        {TLS1_2_VERSION, NULL, TLS_AT_LEAST_1_3, false},
        {TLS1_3_VERSION, NULL, TLS_AT_LEAST_1_3, true},
        {TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256", TLS_AT_LEAST_1_2, true},
        {TLS1_2_VERSION, "ECDHE-ECDSA-CHACHA20-POLY1305", TLS_AT_LEAST_1_2, true},
        {TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA256", TLS_AT_LEAST_1_2, false}, /* CBC */
        {TLS1_2_VERSION, "ECDHE-ECDSA-AES256-SHA", TLS_AT_LEAST_1_2, false},
        {TLS1_2_VERSION, "AES128-GCM-SHA256", TLS_AT_LEAST_1_2, false}, /* no forward secrecy */
        {TLS1_2_VERSION, "aNULL:eNULL", TLS_AT_LEAST_1_2, false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct tls_files files = plain_files();
        struct tls_peer p;
        files.min_version = table[i].least;
        tls_peer_open(&p, &files, &(struct tls_peer_opts){.version = table[i].version});
        if (table[i].ciphers != NULL)
            SSL_set_cipher_list(p.ssl, table[i].ciphers);
        assert_row(tls_peer_shake(&p, 0) == table[i].is_good, "row %zu", i);
        tls_peer_close(&p);
    }
}

static void no_renegotiation_no_tickets_no_resumption(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        struct tls_files files = plain_files();
        struct tls_peer p;
        struct buf got = {0};
        tls_peer_open(&p, &files, &(struct tls_peer_opts){.version = versions[i]});
        assert_true(tls_peer_shake(&p, 0));
        assert_false(SSL_SESSION_has_ticket(SSL_get_session(p.ssl)));
        assert_ptr_equal(SSL_get_current_compression(p.ssl), NULL);
        if (versions[i] == TLS1_2_VERSION) {
            assert_int_equal(SSL_get_secure_renegotiation_support(p.ssl), 1);
            SSL_renegotiate(p.ssl);
            SSL_do_handshake(p.ssl);
            tls_peer_move(&p, 0);
            tls_peer_read(&p, &got);
            assert_int_equal(p.probe.requests, 0);
            assert_int_equal(p.probe.service.handshakes.value, 1);
        }
        buf_done(&got);
        tls_peer_close(&p);
    }
}

static void records_that_carry_nothing_are_counted(void **state)
{
    (void)state;
    for (unsigned n = TLS_EMPTY_RECORDS - 1; n <= TLS_EMPTY_RECORDS + 1; n++) {
        struct tls_files files = plain_files();
        struct tls_peer p;
        struct buf got = {0};
        tls_peer_open(&p, &files, &(struct tls_peer_opts){.version = TLS1_3_VERSION});
        assert_true(tls_peer_shake(&p, 0));
        for (unsigned i = 0; i < n; i++) {
            SSL_key_update(p.ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
            SSL_do_handshake(p.ssl);
        }
        bool lives = tls_peer_move(&p, 0);
        assert_row(lives == (n <= TLS_EMPTY_RECORDS), "%u updates", n);
        assert_int_equal(p.probe.service.faults[HTTP_FAULT_FLOOD].value, !lives);
        if (lives) { /* and the keys are the new ones */
            SSL_write(p.ssl, GET, sizeof GET - 1);
            assert_row(tls_peer_move(&p, 0) == (n < TLS_EMPTY_RECORDS), "%u updates", n);
        }
        buf_done(&got);
        tls_peer_close(&p);
    }
}

static void bytes_that_are_no_handshake(void **state)
{
    static const struct {
        const char *name;
        struct span in;
        enum http_fault fault;
    } table[] = {
        {"a hello of 128 KiB", SPAN("\x16\x03\x01\x00\x09\x01\x01\xff\xff\x03\x03\0\0\0"),
         HTTP_FAULT_FLOOD},
        {"of 16 KiB and a byte", SPAN("\x16\x03\x01\x00\x09\x01\x00\x40\x01\x03\x03\0\0\0"),
         HTTP_FAULT_FLOOD},
        {"a head of 3 bytes", SPAN("\x16\x03\x01\x00\x03\x01\x00\x00"), HTTP_FAULT_FLOOD},
        {"a record of 64 KiB", SPAN("\x16\x03\x01\xff\xff\x01"), HTTP_FAULT_HANDSHAKE},
        {"an empty record", SPAN("\x16\x03\x01\x00\x00\x16\x03\x01\x00\x04zzzz"), HTTP_FAULT_FLOOD},
        {"no hello", SPAN("\x16\x03\x01\x00\x04\x02\x00\x00\x00"), HTTP_FAULT_HANDSHAKE},
        {"data before the handshake", SPAN("\x17\x03\x03\x00\x04GET "), HTTP_FAULT_HANDSHAKE},
        {"an alert", SPAN("\x15\x03\x01\x00\x02\x02\x28"), HTTP_FAULT_HANDSHAKE},
        {"noise", SPAN("\x16\x03\xee\x00\x08zzzzzzzz"), HTTP_FAULT_FLOOD},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct tls_files files = plain_files();
        struct tls_peer p;
        tls_peer_open(&p, &files, &(struct tls_peer_opts){.version = TLS1_3_VERSION});
        tls_ops.feed(p.session, table[i].in);
        assert_row(tls_ops.is_over(p.session), "%s", table[i].name);
        assert_row(p.probe.service.faults[table[i].fault].value == 1, "%s", table[i].name);
        tls_peer_close(&p);
    }
}

static void a_handshake_in_too_many_records(void **state)
{
    (void)state;
    struct tls_files files = plain_files();
    struct tls_peer p;
    tls_peer_open(&p, &files, &(struct tls_peer_opts){.version = TLS1_3_VERSION});
    tls_ops.feed(p.session, SPAN("\x16\x03\x01\x00\x04\x01\x00\x10\x00"));
    for (int i = 1; i <= TLS_HANDSHAKE_RECORDS; i++) {
        assert_false(tls_ops.is_over(p.session));
        tls_ops.feed(p.session, SPAN("\x16\x03\x01\x00\x01z"));
    }
    assert_true(tls_ops.is_over(p.session));
    assert_int_equal(p.probe.service.faults[HTTP_FAULT_FLOOD].value, 1);
    tls_peer_close(&p);
}

/* ---- clients by certificate ---- */

static void clients_are_who_the_ca_and_the_list_say(void **state)
{
    const struct {
        const struct certificate *shown;
        const char *sans;
        bool is_good;
    } table[] = {
        {client, "", true},
        {NULL, "", false},
        {other_client, "", false},
        {old_client, "", false},
        {client, "client.example", true},
        {client, "CLIENT.example", true},
        {client, "elsewhere.example,*.example", true},
        {client, "spiffe://cluster.local/ns/shop/*", true},
        {client, "10.1.2.3", true},
        {client, "2001:db8::1", true},
        {client, "ops@example.com", true},
        {client, "client.exampl", false},
        {client, "lient.example", false},
        {client, "spiffe://cluster.local/ns/pay/*", false},
        {client, "test 2", false}, /* its common name */
        {other_client, "client.example", false},
    };
    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_LEN(table); i++) {
        struct tls_files files = mutual_files(table[i / 2].sans);
        struct tls_peer p;
        struct buf got = {0};
        tls_peer_open(
            &p, &files,
            &(struct tls_peer_opts){.version = versions[i % 2], .certificate = table[i / 2].shown});
        assert_row(tls_peer_shake(&p, 0) == table[i / 2].is_good, "row %zu, version %zu", i / 2,
                   i % 2);
        SSL_write(p.ssl, GET, sizeof GET - 1);
        tls_peer_move(&p, 0);
        tls_peer_read(&p, &got);
        assert_row(p.probe.requests == table[i / 2].is_good, "row %zu, version %zu", i / 2, i % 2);
        buf_done(&got);
        tls_peer_close(&p);
    }
}

/* ---- files ---- */

static void files_that_cannot_be_used(void **state)
{
    (void)state;
    const struct {
        struct tls_files files;
        const char *says;
    } table[] = {
        {{"", server->key_file, "", "", 0}, "tls.cert_file: must be set as well"},
        {{server->cert_file, "", "", "", 0}, "tls.key_file: must be set as well"},
        {{"/nonexistent", server->key_file, "", "", 0}, "tls.cert_file: cannot read"},
        {{server->cert_file, "/nonexistent", "", "", 0}, "tls.key_file: cannot read"},
        {{server->key_file, server->key_file, "", "", 0}, "holds no PEM certificate"},
        {{server->cert_file, server->cert_file, "", "", 0}, "holds no PEM key"},
        {{server->cert_file, client->key_file, "", "", 0}, "is not the key of the certificate"},
        {{server->cert_file, server->key_file, "/nonexistent", "", 0},
         "tls.client_ca_file: cannot"},
        {{server->cert_file, server->key_file, server->key_file, "", 0},
         "holds no PEM certificate"},
        {{server->cert_file, server->key_file, server->cert_file, "", 0, "/nonexistent"},
         "tls.crl_file: cannot"},
        {{server->cert_file, server->key_file, server->cert_file, "", 0, server->cert_file},
         "holds no PEM list of revocations"},
        {{"/", server->key_file, "", "", 0}, "tls.cert_file: cannot read"},
    };
    ERR_clear_error();
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct tls_context *c = NULL;
        struct error err = {{0}};
        assert_row(tls_context_load(&c, &table[i].files, "tls", &err) == ERR_CONFIG, "row %zu", i);
        assert_row(strstr(err.text, table[i].says) != NULL, "row %zu: %s", i, err.text);
        assert_null(c);
        assert_int_equal(ERR_peek_error(), 0);
    }
    struct tls_context *c;
    struct tls_files files = plain_files();
    struct error err = {{0}};
    chmod(server->key_file, 0644);
    assert_int_equal(tls_context_load(&c, &files, "tls", &err), 0);
    assert_true(tls_context_key_is_readable(c));
    tls_context_unref(c);
    chmod(server->key_file, 0600);
}

/* ---- memory ---- */

static size_t heap_bytes, heap_peak; /* of OpenSSL */

union heap_head {
    size_t bytes;
    max_align_t aligned;
};

static void heap_free(void *at, const char *file, int line)
{
    (void)file;
    (void)line;
    if (at == NULL)
        return;
    heap_bytes -= ((union heap_head *)at - 1)->bytes;
    free((union heap_head *)at - 1);
}

static void *heap_malloc(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    union heap_head *head = malloc(sizeof *head + size);
    if (head == NULL)
        return NULL;
    head->bytes = sizeof *head + size;
    heap_bytes += head->bytes;
    if (heap_bytes > heap_peak)
        heap_peak = heap_bytes;
    return head + 1;
}

static void *heap_realloc(void *at, size_t size, const char *file, int line)
{
    void *moved = heap_malloc(size, file, line);
    if (moved == NULL || at == NULL)
        return moved;
    size_t had = ((union heap_head *)at - 1)->bytes - sizeof(union heap_head);
    memcpy(moved, at, had < size ? had : size);
    heap_free(at, file, line);
    return moved;
}

/* What OpenSSL takes for the server's side: all that goes when the session is freed. */
static size_t server_bytes(struct tls_peer *p)
{
    size_t before = heap_bytes;
    tls_ops.free(p->session);
    p->session = NULL;
    return before - heap_bytes;
}

static void the_account_covers_what_openssl_takes(void **state)
{
    (void)state;
    for (size_t i = 0; i < 6; i++) {
        bool is_mutual = i >= 2;
        struct tls_files files = is_mutual ? mutual_files("") : plain_files();
        struct tls_peer_opts opts = {.version = versions[i % 2],
                                     .certificate = is_mutual ? client : NULL,
                                     .chain_length = i >= 4 ? 10 : 0};
        struct tls_peer p;
        struct buf got = {0};

        tls_peer_open(&p, &files, &opts); /* half a handshake */
        SSL_do_handshake(p.ssl);
        size_t before = heap_bytes;
        heap_peak = heap_bytes;
        tls_peer_move(&p, 0);
        size_t at_once = heap_peak - before;
        assert_true(p.probe.budget.used >= TLS_HANDSHAKE_BYTES);
        size_t half = server_bytes(&p);
        tls_peer_close(&p);

        tls_peer_open(&p, &files, &opts); /* a whole one, and a request */
        assert_true(tls_peer_shake(&p, 0));
        SSL_write(p.ssl, GET, sizeof GET - 1);
        tls_peer_move(&p, 0);
        tls_peer_read(&p, &got);
        assert_true(p.probe.budget.used >= TLS_SESSION_BYTES);
        size_t charged = p.probe.budget.used;
        size_t idle = server_bytes(&p);
        print_message("%s%s: half a handshake %zu bytes, %zu more at once; idle %zu, charged %zu\n",
                      is_mutual ? "mutual " : "", SSL_get_version(p.ssl), half, at_once, idle,
                      charged);
        assert_true(at_once <= 128 * 1024); /* of one connection at a time */
        assert_true(half <= TLS_HANDSHAKE_BYTES);
        assert_true(idle <= charged);
        assert_true(is_mutual || charged < TLS_SESSION_BYTES + 4096);
        buf_done(&got);
        tls_peer_close(&p);
    }
}

static void without_room_there_is_no_session(void **state)
{
    (void)state;
    struct tls_files files = plain_files();
    for (size_t memory = 1024; memory < 200000; memory += 4096) {
        struct tls_peer p;
        struct buf got = {0};
        tls_peer_open(&p, &files,
                      &(struct tls_peer_opts){.version = TLS1_3_VERSION, .memory = memory});
        if (p.session != NULL && tls_peer_shake(&p, 0)) {
            SSL_write(p.ssl, GET, sizeof GET - 1);
            tls_peer_move(&p, 0);
            tls_peer_read(&p, &got);
        }
        assert_true(memory < 100000 || has(&got, "200"));
        buf_done(&got);
        tls_peer_close(&p); /* nothing is left in the account */
    }
}

int main(void)
{
    assert(CRYPTO_set_mem_functions(heap_malloc, heap_realloc, heap_free) == 1);
    certificates_init(&certificates);
    server = certificate_make(&certificates, "DNS:localhost", NULL, 30);
    ca = certificate_make(&certificates, NULL, NULL, 30);
    client = certificate_make(&certificates,
                              "DNS:client.example,URI:spiffe://cluster.local/ns/shop/sa/web,"
                              "IP:10.1.2.3,IP:2001:db8::1,email:Ops@example.com",
                              ca, 30);
    struct certificate *other_ca = certificate_make(&certificates, NULL, NULL, 30);
    other_client = certificate_make(&certificates, "DNS:client.example", other_ca, 30);
    old_client = certificate_make(&certificates, "DNS:client.example", ca, -1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_in_each_version_however_records_are_cut),
        cmocka_unit_test(a_long_body_arrives_whole),
        cmocka_unit_test(alpn_says_which_http),
        cmocka_unit_test(without_alpn_the_first_bytes_do),
        cmocka_unit_test(close_notify_from_us_when_http_has_ended),
        cmocka_unit_test(who_closes_his_side_still_gets_the_answer),
        cmocka_unit_test(what_is_cut_off_is_no_request),
        cmocka_unit_test(a_handshake_has_the_time_of_a_head_and_a_silent_one_its_own),
        cmocka_unit_test(old_versions_and_weak_suites),
        cmocka_unit_test(no_renegotiation_no_tickets_no_resumption),
        cmocka_unit_test(records_that_carry_nothing_are_counted),
        cmocka_unit_test(bytes_that_are_no_handshake),
        cmocka_unit_test(a_handshake_in_too_many_records),
        cmocka_unit_test(clients_are_who_the_ca_and_the_list_say),
        cmocka_unit_test(files_that_cannot_be_used),
        cmocka_unit_test(the_account_covers_what_openssl_takes),
        cmocka_unit_test(without_room_there_is_no_session),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    certificates_done(&certificates);
    return rc;
}
