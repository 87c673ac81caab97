/* top: a timer asks, an answer draws, a key changes how. */
#include "cli/verbs.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/admin.h"
#include "cli/command.h"
#include "cli/term.h"
#include "cli/top_view.h"

#define INTERVAL_MS 1000
#define INTERVAL_MS_MIN 100
#define ANSWER_BYTES ((size_t)1 << 20) /* 200 rows are a tenth of it */
#define PLAIN_COLUMNS 200              /* where there is no terminal to ask */

struct verb {
    struct config cfg;
    struct admin admin;
    struct top_view view;
    struct client_call *call; /* NULL: none is under way */
    uv_timer_t timer;
    uv_tty_t keys;
    uv_signal_t signals[4];
    unsigned signal_count;
    bool is_once, on_screen, has_keys, is_over;
    enum { ROWS, CHOSEN, HELP } shown;
    bool is_typing; /* the filter */
    unsigned answers;
    uint64_t interval_ms;
    struct buf frame, screen;
    char key_bytes[64];
    char escape[8]; /* of a key in several bytes, so far */
    size_t escape_len;
    int code;
};

/* ---- the screen -------------------------------------------------------- */

static void write_all(struct span text)
{
    while (text.len > 0) {
        ssize_t n = write(STDOUT_FILENO, text.base, text.len);
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return; /* the terminal is gone; SIGHUP comes */
        if (n > 0)
            text = span_skip(text, (size_t)n);
    }
}

static void screen_size(unsigned *width, unsigned *height)
{
    struct winsize size;
    *width = 80;
    *height = 24;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0) {
        *width = size.ws_col;
        *height = size.ws_row;
    }
}

#define LEGEND "v n k s e sort  r reverse  / filter  Enter detail  p pause  ? help  q end"
static const char *const help_lines[] = {
    "v volume   n records a second   k kept share   s saved bytes   e severity",
    "r          the other way round",
    "/          only rows that hold a text, in any column; Enter ends it",
    "arrows     another row; page keys, space and b by ten, g and G to the ends",
    "Enter      all of the row, with its id",
    "p          pause",
    "q          end",
};

static void add_cut(struct verb *v, const char *text, unsigned width)
{
    term_add(&v->frame, span_str(text), width);
    buf_append_byte(&v->frame, '\n');
}

/* The last line is for the keys. */
static void draw_frame(struct verb *v, unsigned width, unsigned height)
{
    char line[sizeof v->view.filter + 32];
    if (v->shown == HELP)
        for (size_t i = 0; i < ARRAY_LEN(help_lines); i++)
            add_cut(v, help_lines[i], width);
    else if (v->shown == CHOSEN)
        top_view_draw_open(&v->view, &v->frame, width);
    else
        top_view_draw(&v->view, &v->frame, width, height > 1 ? height - 1 : 1);
    if (height < 2)
        return;
    snprintf(line, sizeof line, "/%s%s", v->view.filter, v->is_typing ? "_" : "  (/ changes it)");
    if (v->shown != ROWS)
        add_cut(v, "any key: back", width);
    else
        add_cut(v, v->is_typing || v->view.filter[0] != '\0' ? line : LEGEND, width);
}

/* Line by line over what was there, so that nothing flickers. */
static void draw(struct verb *v)
{
    unsigned width, height, number = 0;
    screen_size(&width, &height);
    buf_clear(&v->frame);
    buf_clear(&v->screen);
    draw_frame(v, width, height);
    struct span rest = buf_span(&v->frame);
    buf_append_str(&v->screen, "\033[H");
    while (rest.len > 0) {
        size_t n = (size_t)((const uint8_t *)memchr(rest.base, '\n', rest.len) - rest.base);
        bool is_title = v->shown == ROWS && number == top_title_line(&v->view);
        bool is_chosen =
            v->shown == ROWS && v->view.chosen != NULL && number == v->view.chosen_line;
        if (number++ > 0)
            buf_append_str(&v->screen, "\r\n");
        buf_append_str(&v->screen, is_title ? "\033[1m" : is_chosen ? "\033[7m" : "");
        buf_append(&v->screen, span_of(rest.base, n));
        buf_append_str(&v->screen, is_title || is_chosen ? "\033[0m\033[K" : "\033[K");
        rest = span_skip(rest, n + 1);
    }
    buf_append_str(&v->screen, "\033[J");
    write_all(buf_span(&v->screen));
}

static void enter_screen(struct verb *v)
{
    v->on_screen = true;
    write_all(SPAN("\033[?1049h\033[?25l"));
}

static void leave_screen(struct verb *v)
{
    if (v->on_screen)
        write_all(SPAN("\033[?25h\033[?1049l"));
    v->on_screen = false;
    uv_tty_reset_mode();
}

/* ---- asking ------------------------------------------------------------ */

static void end(struct verb *v, int code)
{
    v->is_over = true;
    v->code = code;
    uv_stop(&v->admin.loop);
}

static void on_answer(void *ctx, const struct client_result *r)
{
    struct verb *v = ctx;
    v->call = NULL;
    bool good = r->err == 0 && r->status == 200 &&
                top_view_take(&v->view, r->body, uv_now(&v->admin.loop)) == 0;
    if (!good && v->answers == 0) {
        leave_screen(v);
        end(v, admin_explain_failure(&v->admin, r));
        return;
    }
    v->view.notice = good ? NULL : "no answer: asking again";
    v->answers += good;
    if (!v->is_once) {
        draw(v);
    } else if (v->answers == 2) {
        buf_clear(&v->frame);
        top_view_draw(&v->view, &v->frame, PLAIN_COLUMNS, 0);
        write_all(buf_span(&v->frame));
        end(v, EXIT_OK);
    }
}

static void ask(struct verb *v)
{
    const struct client_request how = {.ctx = v, .done = on_answer};
    struct buf target = {0};
    if (v->call != NULL || v->is_over)
        return;
    buf_printf(&target, "/api/top?limit=%d&sort=%s&reverse=%d", TOP_ROWS_MAX,
               top_order_asked(v->view.order), v->view.reverse);
    if (admin_send(&v->admin, &target, ANSWER_BYTES, &how, &v->call) < 0)
        end(v, EXIT_BUG);
    buf_done(&target);
}

static void on_timer(uv_timer_t *timer)
{
    struct verb *v = container_of(timer, struct verb, timer);
    if (!v->view.paused)
        ask(v);
}

/* ---- keys and signals -------------------------------------------------- */

static void scroll(struct verb *v, int rows)
{
    int64_t to = (int64_t)v->view.cursor + rows;
    v->view.cursor = to < 0 ? 0 : (uint32_t)to; /* drawing clamps the other end */
}

static const struct {
    const char *bytes; /* what terminals send */
    int rows;
} scroll_keys[] = {
    {"\033[A", -1},
    {"\033OA", -1},
    {"\033[B", 1},
    {"\033OB", 1},
    {"\033[5~", -10},
    {"\033[6~", 10},
    {"\033[H", -TOP_ROWS_MAX},
    {"\033[F", TOP_ROWS_MAX},
    {"g", -TOP_ROWS_MAX},
    {"G", TOP_ROWS_MAX},
    {" ", 10},
    {"b", -10},
};

/* A key while the filter is typed. */
static void on_filter_key(struct verb *v, const char *key)
{
    char *filter = v->view.filter;
    size_t n = strlen(filter);
    if (strcmp(key, "\r") == 0 || strcmp(key, "\n") == 0)
        v->is_typing = false;
    else if ((strcmp(key, "\b") == 0 || strcmp(key, "\177") == 0) && n > 0)
        filter[n - 1] = '\0';
    else if (key[1] == '\0' && (unsigned char)key[0] >= ' ' && key[0] != '\177' &&
             n + 1 < sizeof v->view.filter)
        memcpy(filter + n, key, 2);
    v->view.cursor = 0;
}

/* True: the key was for what is shown in place of the rows, or changes that. */
static bool on_mode_key(struct verb *v, const char *key)
{
    bool is_enter = strcmp(key, "\r") == 0 || strcmp(key, "\n") == 0;
    if (v->is_typing)
        on_filter_key(v, key);
    else if (v->shown != ROWS)
        v->shown = ROWS;
    else if (strcmp(key, "?") == 0)
        v->shown = HELP;
    else if (is_enter)
        v->shown = top_view_open(&v->view) ? CHOSEN : ROWS;
    else if (strcmp(key, "/") == 0)
        v->is_typing = true;
    else
        return false;
    draw(v);
    return true;
}

/* One whole key. */
static void on_key(struct verb *v, const char *key)
{
    int order = key[1] == '\0' ? top_order_of_key(key[0]) : -1;
    bool asks = order >= 0 || strcmp(key, "r") == 0;
    bool is_end = strcmp(key, "q") == 0 && !v->is_typing && v->shown == ROWS;
    if (is_end || strcmp(key, "\003") == 0) {
        end(v, EXIT_OK);
        return;
    }
    if (on_mode_key(v, key))
        return;
    if (order >= 0)
        v->view.order = (enum top_order)order;
    else if (strcmp(key, "r") == 0)
        v->view.reverse = !v->view.reverse;
    else if (strcmp(key, "p") == 0)
        v->view.paused = !v->view.paused;
    for (size_t i = 0; i < ARRAY_LEN(scroll_keys); i++)
        if (strcmp(key, scroll_keys[i].bytes) == 0)
            scroll(v, scroll_keys[i].rows);
    if (asks)
        v->view.cursor = 0;
    if (asks && !v->view.paused)
        ask(v); /* other rows may come first now */
    draw(v);
}

/* ESC, then '[' or 'O', then up to a letter or '~'. */
static void on_key_byte(struct verb *v, char c)
{
    if (v->escape_len == 0 && c != '\033') {
        on_key(v, (const char[]){c, '\0'});
        return;
    }
    v->escape[v->escape_len++] = c;
    v->escape[v->escape_len] = '\0';
    bool is_open = v->escape_len < 2 || (v->escape_len == 2 && (c == '[' || c == 'O'));
    bool is_end = !is_open && (c == '~' || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'));
    if (is_end)
        on_key(v, v->escape);
    if (is_end || (!is_open && v->escape_len == 2) || v->escape_len == sizeof v->escape - 1)
        v->escape_len = 0;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *lent)
{
    struct verb *v = container_of((uv_tty_t *)handle, struct verb, keys);
    (void)suggested;
    *lent = uv_buf_init(v->key_bytes, sizeof v->key_bytes);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *lent)
{
    struct verb *v = container_of((uv_tty_t *)stream, struct verb, keys);
    if (n < 0)
        end(v, EXIT_OK); /* the terminal is gone */
    for (ssize_t i = 0; i < n && !v->is_over; i++)
        on_key_byte(v, lent->base[i]);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct verb *v = handle->data;
    if (number != SIGWINCH)
        end(v, EXIT_OK);
    else if (v->on_screen)
        draw(v);
}

/* ---- the verb ---------------------------------------------------------- */

static void watch(struct verb *v)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH};
    signal(SIGPIPE, SIG_IGN);
    uv_timer_init(&v->admin.loop, &v->timer);
    for (; v->signal_count < ARRAY_LEN(numbers); v->signal_count++) {
        uv_signal_t *s = &v->signals[v->signal_count];
        uv_signal_init(&v->admin.loop, s);
        s->data = v;
        uv_signal_start(s, on_signal, numbers[v->signal_count]);
    }
    if (!v->is_once && isatty(STDIN_FILENO) &&
        uv_tty_init(&v->admin.loop, &v->keys, STDIN_FILENO, 1) == 0) {
        v->has_keys = true;
        uv_tty_set_mode(&v->keys, UV_TTY_MODE_RAW);
        uv_read_start((uv_stream_t *)&v->keys, on_alloc, on_read);
    }
    uv_timer_start(&v->timer, on_timer, 0, v->interval_ms);
}

static int run(struct verb *v, const char *admin)
{
    int code = admin_open(&v->admin, &v->cfg, admin);
    if (code != 0)
        return code;
    watch(v);
    if (!v->is_once)
        enter_screen(v);
    uv_run(&v->admin.loop, UV_RUN_DEFAULT);
    leave_screen(v);
    uv_close((uv_handle_t *)&v->timer, NULL);
    for (unsigned i = 0; i < v->signal_count; i++)
        uv_close((uv_handle_t *)&v->signals[i], NULL);
    if (v->has_keys)
        uv_close((uv_handle_t *)&v->keys, NULL);
    return v->code;
}

/* "2", "2s" or "250ms". False: none of them, or too short. */
static bool parse_interval(const char *text, uint64_t *ms)
{
    char *rest;
    double n = strtod(text, &rest);
    if (strcmp(rest, "ms") != 0)
        n *= 1000;
    if (rest == text || (*rest != '\0' && strcmp(rest, "s") != 0 && strcmp(rest, "ms") != 0))
        return false;
    *ms = n >= INTERVAL_MS_MIN && n < 1e9 ? (uint64_t)n : 0;
    return *ms > 0;
}

int verb_top(int argc, char **argv)
{
    static struct verb v;
    const char *sort = "volume", *interval = NULL, *admin = NULL;
    bool reverse = false;
    const struct command_flag flags[] = {
        {.name = "once", .given = &v.is_once},  {.name = "sort", .value = &sort},
        {.name = "reverse", .given = &reverse}, {.name = "interval", .value = &interval},
        {.name = "admin", .value = &admin},
    };
    v = (struct verb){.interval_ms = INTERVAL_MS};
    int code = command_load(argc, argv, flags, ARRAY_LEN(flags), &v.cfg, NULL);
    if (code != 0)
        return code;
    int order = top_order_of_name(sort);
    if (order < 0)
        code = command_usage_error("--sort: volume, now, kept, saved or severity, not ", sort);
    else if (interval != NULL && !parse_interval(interval, &v.interval_ms))
        code = command_usage_error("--interval: a time of at least 100ms, not ", interval);
    else if (top_view_init(&v.view) < 0)
        code = EXIT_BUG;
    if (code == 0) {
        v.view.order = (enum top_order)order;
        v.view.reverse = reverse;
        v.view.has_cursor = true;
        v.is_once = v.is_once || !isatty(STDOUT_FILENO);
        code = run(&v, admin);
    }
    admin_close(&v.admin);
    top_view_done(&v.view);
    buf_done(&v.frame);
    buf_done(&v.screen);
    config_done(&v.cfg);
    return code;
}
