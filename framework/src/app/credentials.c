#include "app/credentials.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define REASON_BYTES 512

static bool is_set(const weft_config *config, const char *key)
{
    return *weft_config_string(config, key) != '\0';
}

/* NULL where nothing is said. */
static const char *text_of(const weft_config *config, const char *key)
{
    return is_set(config, key) ? weft_config_string(config, key) : NULL;
}

static weft_client_certificates client_certificates(const weft_config *config)
{
    const char *wanted = weft_config_string(config, "tls.client_certificates");
    if (strcmp(wanted, "require") == 0)
        return WEFT_CLIENT_CERTIFICATES_REQUIRE;
    return strcmp(wanted, "request") == 0 ? WEFT_CLIENT_CERTIFICATES_REQUEST : WEFT_CLIENT_CERTIFICATES_NONE;
}

bool weft__credentials_serve(const weft_config *config)
{
    return is_set(config, "tls.certificate");
}

bool weft__credentials_call(const weft_config *config)
{
    return weft_config_bool(config, "tls.channels");
}

/* ---- what goes together ------------------------------------------------------------------------------------------ */

/* What is set for `key` needs another key. */
static void want(const weft_config *config, const char *key, const char *wanted, int *rc)
{
    if (is_set(config, wanted))
        return;
    fprintf(stderr, "%s: %s: set %s, too\n", weft_config_source(config, key), key, wanted);
    *rc = -EINVAL;
}

int weft__credentials_check(const weft_config *config)
{
    int rc = 0;
    size_t plaintext;
    (void)weft_config_list(config, "listen_plaintext", &plaintext);
    if (is_set(config, "tls.certificate"))
        want(config, "tls.certificate", "tls.key", &rc);
    if (is_set(config, "tls.key"))
        want(config, "tls.key", "tls.certificate", &rc);
    if (client_certificates(config) != WEFT_CLIENT_CERTIFICATES_NONE) {
        want(config, "tls.client_certificates", "tls.certificate", &rc);
        want(config, "tls.client_certificates", "tls.roots", &rc);
    }
    if (plaintext > 0)
        want(config, "listen_plaintext", "tls.certificate", &rc);
    return rc;
}

/* ---- the files --------------------------------------------------------------------------------------------------- */

int weft__credentials_new(weft_tls **out, weft_engine *engine, const weft_config *config, weft_log *log)
{
    char reason[REASON_BYTES] = "";
    weft_tls_options options = WEFT_TLS_OPTIONS_INIT;
    *out = NULL;
    if (!weft__credentials_serve(config) && !weft__credentials_call(config))
        return 0;
    options.log = log;
    options.certificate_file = text_of(config, "tls.certificate");
    options.key_file = text_of(config, "tls.key");
    options.roots_file = text_of(config, "tls.roots");
    options.server_name = text_of(config, "tls.server_name");
    options.client_certificates = client_certificates(config);
    int rc = weft_tls_new(out, engine, &options, reason, sizeof reason);
    if (rc < 0)
        weft_log_error(log, "cannot use TLS",
                       WEFT_FIELDS(WEFT_STR("error", strerror(-rc)), WEFT_STR("reason", reason)));
    return rc;
}
