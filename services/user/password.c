#include "password.h"

#include <argon2.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>

/* OWASP's recommendation for argon2id. */
#define MEMORY_KIB 19456
#define PASSES     2
#define LANES      1
#define SALT_BYTES 16
#define KEY_BYTES  32

/* A hash with the same costs that no password has: the key is all zeros. */
static const char no_password[] =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/* Hashing takes memory that a flood of logins must not multiply without end: 8 at once take 152 MiB, the others wait.
 */
#define MAX_AT_ONCE 8
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;
static int running;

static void begin_hashing(void)
{
    pthread_mutex_lock(&lock);
    while (running == MAX_AT_ONCE)
        pthread_cond_wait(&ended, &lock);
    running++;
    pthread_mutex_unlock(&lock);
}

static void end_hashing(void)
{
    pthread_mutex_lock(&lock);
    running--;
    pthread_cond_signal(&ended);
    pthread_mutex_unlock(&lock);
}

int password_hash(const char *password, char phc[PASSWORD_HASH_BYTES])
{
    uint8_t salt[SALT_BYTES];
    ssize_t n;
    do
        n = getrandom(salt, sizeof salt, 0);
    while (n < 0 && errno == EINTR);
    if (n != sizeof salt)
        return n < 0 ? -errno : -EIO;
    begin_hashing();
    int rc = argon2id_hash_encoded(PASSES, MEMORY_KIB, LANES, password, strlen(password), salt, sizeof salt, KEY_BYTES,
                                   phc, PASSWORD_HASH_BYTES);
    end_hashing();
    if (rc == ARGON2_OK)
        return 0;
    return rc == ARGON2_MEMORY_ALLOCATION_ERROR ? -ENOMEM : -EIO;
}

int password_verify(const char *password, const char *phc)
{
    begin_hashing();
    int rc = argon2id_verify(phc != NULL ? phc : no_password, password, strlen(password));
    end_hashing();
    if (rc == ARGON2_VERIFY_MISMATCH || (rc == ARGON2_OK && phc == NULL))
        return -EACCES;
    if (rc == ARGON2_OK)
        return 0;
    return rc == ARGON2_MEMORY_ALLOCATION_ERROR ? -ENOMEM : -EBADMSG;
}

void password_wipe(void *secret, size_t len)
{
    volatile unsigned char *p = secret;
    while (len-- > 0)
        *p++ = 0;
}
