/* app/notify.h: tells the service manager that started the process how it is (sd_notify(3)). */
#ifndef WEFT_APP_NOTIFY_H
#define WEFT_APP_NOTIFY_H

/**
 * Sends one datagram to the socket that NOTIFY_SOCKET names, the protocol that sd_notify(3) promises to keep.
 *
 * @param state assignments with a line break between them: "READY=1".
 * @return 0, also when no manager listens (the variable is not set); -EINVAL the variable holds no address; or the
 *         -errno of the socket. Thread: any; reads the environment.
 */
int weft__notify(const char *state);

#endif
