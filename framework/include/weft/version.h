/* weft/version.h: the version of Weft, and the macros every public header uses. */
#ifndef WEFT_VERSION_H
#define WEFT_VERSION_H

#define WEFT_VERSION_MAJOR  0
#define WEFT_VERSION_MINOR  1
#define WEFT_VERSION_PATCH  0
#define WEFT_VERSION_STRING "0.1.0"

/* The shapes of generated code that this header serves. A *.weft.h file states the one it was written for and refuses
   to compile outside this range. */
#define WEFT_GENERATED_MIN 1
#define WEFT_GENERATED_MAX 1

#if defined(__GNUC__)
#define WEFT_API              __attribute__((visibility("default")))
#define WEFT_PRINTF(fmt, arg) __attribute__((format(printf, fmt, arg)))
#define WEFT_MUST_CHECK       __attribute__((warn_unused_result))
#else
#define WEFT_API
#define WEFT_PRINTF(fmt, arg)
#define WEFT_MUST_CHECK
#endif

#ifdef __cplusplus
#define WEFT_BEGIN_DECLS extern "C" {
#define WEFT_END_DECLS   }
#define WEFT__INIT(type) weft__init<type>()
/* All zeros but struct_size: C++11 has no initializer for that which -Wextra lets pass. */
extern "C++" {
template <typename Options> static inline Options weft__init()
{
    Options options = Options();
    options.struct_size = sizeof options;
    return options;
}
}
#else
#define WEFT_BEGIN_DECLS
#define WEFT_END_DECLS
#define WEFT__INIT(type)                                                                                               \
    {                                                                                                                  \
        .struct_size = sizeof(type)                                                                                    \
    }
#endif

WEFT_BEGIN_DECLS

/**
 * The version of the library that is loaded, which may be newer than the header: "0.1.0".
 *
 * @return a static string. Thread: any.
 */
WEFT_API const char *weft_version(void);

WEFT_END_DECLS
#endif
