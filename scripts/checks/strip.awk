# Takes comments out of C and empties string and character literals. Keeps the number of lines, and #include lines.
# state: 0 code, 1 inside a block comment.
BEGIN { state = 0 }
{
    if (state == 0 && $0 ~ /^[ \t]*#[ \t]*include/) {
        print
        next
    }
    out = ""
    rest = $0
    while (rest != "") {
        if (state == 1) {
            end = index(rest, "*/")
            if (end == 0) {
                rest = ""
            } else {
                rest = substr(rest, end + 2)
                state = 0
                out = out " "
            }
        } else if (match(rest, /\/\*|\/\/|"|'/) == 0) {
            out = out rest
            rest = ""
        } else {
            mark = substr(rest, RSTART, RLENGTH)
            out = out substr(rest, 1, RSTART - 1)
            rest = substr(rest, RSTART + RLENGTH)
            if (mark == "/*") {
                state = 1
            } else if (mark == "//") {
                rest = ""
            } else {
                literal = mark == "\"" ? "^([^\"\\\\]|\\\\.)*\"" : "^([^'\\\\]|\\\\.)*'"
                rest = match(rest, literal) ? substr(rest, RLENGTH + 1) : ""
                out = out mark mark
            }
        }
    }
    print out
}
