// Checkers, interactors, validators and generators that are written against testlib's interface, as Polygon's are,
// compile with this header: the same names, exit codes and messages, written anew for this judge. It is no copy of
// https://github.com/MikeMirzayanov/testlib: its random numbers are others, so that a generator makes other tests here.
#pragma once

#include <algorithm>
#include <cctype>
#include <climits>
#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <numeric>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#ifdef TESTLIB_THROW_EXIT_EXCEPTION_INSTEAD_OF_EXIT
struct exit_exception : std::exception {
  explicit exit_exception(int code) : code_(code) {}
  int getExitCode() const { return code_; }

 private:
  int code_;
};
[[noreturn]] inline void testlib_exit(int code) { throw exit_exception(code); }
#else
[[noreturn]] inline void testlib_exit(int code) { std::exit(code); }
#endif

enum TResult {
  _ok = 0, _wa = 1, _pe = 2, _fail = 3, _dirt = 4, _points = 5, _unexpected_eof = 8, _partially = 16
};
enum TMode { _input, _output, _answer };
enum TTestlibMode { _unknown, _checker, _validator, _generator, _interactor, _scorer };

namespace testlib_detail {
inline TTestlibMode program = _unknown;
inline int test_case = -1;
inline std::map<std::string, std::string> options;
inline std::set<std::string> asked_options;
inline std::vector<std::string> arguments;

inline std::string vformat(const char *format, va_list list) {
  va_list again;
  va_copy(again, list);
  int size = std::vsnprintf(nullptr, 0, format, again);
  va_end(again);
  std::string text(size > 0 ? size : 0, '\0');
  if (size > 0) std::vsnprintf(text.data(), size + 1, format, list);
  return text;
}
}  // namespace testlib_detail

#define TESTLIB_FORMAT(text, format)                             \
  va_list testlib_list;                                          \
  va_start(testlib_list, format);                                \
  std::string text = testlib_detail::vformat(format, testlib_list); \
  va_end(testlib_list)

inline std::string format(const char *text, ...) {
  TESTLIB_FORMAT(made, text);
  return made;
}
inline std::string format(const std::string text, ...) {
  va_list list;
  va_start(list, text);
  std::string made = testlib_detail::vformat(text.c_str(), list);
  va_end(list);
  return made;
}

template <typename T> std::string vtos(const T &value) {
  std::ostringstream out;
  out.precision(17);
  out << value;
  return out.str();
}
template <typename T> std::string toString(const T &value) { return vtos(value); }
inline std::string compress(const std::string &text) {
  return text.size() <= 64 ? text : text.substr(0, 32) + "..." + text.substr(text.size() - 29);
}
inline std::string englishEnding(int n) {
  n = std::abs(n) % 100;
  if (n / 10 == 1) return "th";
  return n % 10 == 1 ? "st" : n % 10 == 2 ? "nd" : n % 10 == 3 ? "rd" : "th";
}
inline bool isEof(int c) { return c == EOF; }
inline bool isEoln(int c) { return c == '\n' || c == '\r'; }
inline bool isBlanks(int c) { return c == ' ' || c == '\t' || isEoln(c); }
inline std::string upperCase(std::string s) { for (char &c : s) c = char(std::toupper((unsigned char)c)); return s; }
inline std::string lowerCase(std::string s) { for (char &c : s) c = char(std::tolower((unsigned char)c)); return s; }
inline std::string trim(const std::string &s) {
  std::size_t a = 0, b = s.size();
  while (a < b && isBlanks(s[a])) a++;
  while (b > a && isBlanks(s[b - 1])) b--;
  return s.substr(a, b - a);
}
inline std::vector<std::string> split(const std::string &s, const std::string &by) {  // by any of the characters
  std::vector<std::string> parts(1);
  for (char c : s) if (by.find(c) != std::string::npos) parts.emplace_back(); else parts.back() += c;
  return parts;
}
inline std::vector<std::string> split(const std::string &s, char by) { return split(s, std::string(1, by)); }
inline std::vector<std::string> tokenize(const std::string &s, const std::string &by) {
  std::vector<std::string> parts;
  for (auto &part : split(s, by)) if (!part.empty()) parts.push_back(part);
  return parts;
}
inline std::vector<std::string> tokenize(const std::string &s, char by) { return tokenize(s, std::string(1, by)); }
template <typename I> std::string join(I begin, I end, const std::string &between) {
  std::string text;
  for (auto i = begin; i != end; ++i) text += (i == begin ? "" : between) + vtos(*i);
  return text;
}
template <typename I> std::string join(I begin, I end, char between = ' ') { return join(begin, end, std::string(1, between)); }
template <typename C> auto join(const C &items, const std::string &between = " ") -> decltype(items.end(), std::string()) {
  return join(items.begin(), items.end(), between);
}
template <typename C> auto join(const C &items, char between) -> decltype(items.end(), std::string()) {
  return join(items, std::string(1, between));
}
inline bool __testlib_isNaN(double x) { return std::isnan(x); }
inline bool __testlib_isInfinite(double x) { return std::isinf(x); }
inline double doubleDelta(double expected, double result) {
  double off = std::fabs(result - expected);
  return std::fabs(expected) > 1e-9 ? std::min(off, std::fabs(off / expected)) : off;
}
inline bool doubleCompare(double expected, double result, double allowed) {
  allowed += 1e-15;
  if (std::isnan(expected) || std::isnan(result)) return std::isnan(expected) && std::isnan(result);
  if (std::isinf(expected) || std::isinf(result)) return expected == result;
  return std::fabs(result - expected) <= allowed || std::fabs(result - expected) <= allowed * std::fabs(expected);
}

// A pattern: what it matches goes through std::regex; the random texts of it are made by its own small grammar. Blanks
// in it count only behind a backslash, and of what std::regex knows only ( ) [ ] { } | ? * + mean anything.
struct random_t;
class pattern {
 public:
  pattern(const std::string &text) {
    for (std::size_t i = 0; i < text.size(); i++) {
      if (text[i] == ' ') continue;
      text_ += text[i];
      if (text[i] == '\\' && i + 1 < text.size()) text_ += text[++i];
    }
  }
  bool matches(const std::string &s) const {
    std::string translated;
    bool inside = false;
    for (std::size_t i = 0; i < text_.size(); i++) {
      char c = text_[i];
      bool escaped = c == '\\' && i + 1 < text_.size();
      if (escaped) c = text_[++i];
      bool special = std::strchr(inside ? "\\]^-[" : "\\.^$|()[]{}*+?/", c) != nullptr;
      bool kept = !escaped && (inside ? c != '\\' && c != '[' : std::strchr("|()[]{}*+?", c) != nullptr);
      if (!escaped && c == '[') inside = true;
      if (!escaped && c == ']') inside = false;
      if (special && !kept) translated += '\\';
      translated += c;
    }
    return std::regex_match(s, std::regex(translated));
  }
  std::string next(random_t &rnd) const;
  const std::string &src() const { return text_; }

 private:
  std::string choice(random_t &rnd, std::size_t &at) const;
  std::string text_;
};

struct random_t {
  std::uint64_t state = 0x9E3779B97F4A7C15ull;
  void setSeed(std::uint64_t seed) { state = seed; }
  void setSeed(int argc, char *argv[]) {
    state = 14695981039346656037ull;  // FNV-1a over all arguments, as a test is told by its command line
    for (int i = 1; i < argc; i++) {
      for (const char *c = argv[i]; *c; c++) state = (state ^ (unsigned char)*c) * 1099511628211ull;
      state = (state ^ 0xFF) * 1099511628211ull;
    }
  }
  std::uint64_t bits() {  // SplitMix64 (Steele, Lea and Flood, 2014)
    std::uint64_t z = (state += 0x9E3779B97F4A7C15ull);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
  }
  std::uint64_t below(std::uint64_t n) {
    if (n == 0) { std::fprintf(stderr, "FAIL rnd.next(n) needs n above 0\n"); testlib_exit(3); }
    std::uint64_t limit = UINT64_MAX - UINT64_MAX % n, drawn;
    do drawn = bits(); while (drawn >= limit);
    return drawn % n;
  }
  double next() { return double(bits() >> 11) * 0x1p-53; }
  int next(int n) { return int(below(n > 0 ? n : 0)); }
  long long next(long long n) { return (long long)below(n > 0 ? n : 0); }
  long next(long n) { return long(next((long long)n)); }
  unsigned next(unsigned n) { return unsigned(below(n)); }
  unsigned long long next(unsigned long long n) { return below(n); }
  unsigned long next(unsigned long n) { return below(n); }
  double next(double n) { return n * next(); }
  template <typename T, typename = std::enable_if_t<std::is_integral_v<T>>> T next(T low, T high) {
    if (low > high) { std::fprintf(stderr, "FAIL rnd.next(low, high) needs low <= high\n"); testlib_exit(3); }
    std::uint64_t width = std::uint64_t(high) - std::uint64_t(low);
    return width == UINT64_MAX ? T(bits()) : T(std::uint64_t(low) + below(width + 1));
  }
  long long next(int low, long long high) { return next((long long)low, high); }
  long long next(long long low, int high) { return next(low, (long long)high); }
  double next(double low, double high) { return low + (high - low) * next(); }
  std::string next(const std::string &text) { return pattern(text).next(*this); }
  std::string next(const char *text, ...) { TESTLIB_FORMAT(made, text); return next(made); }
  template <typename T> T wnext(T n, int weight) {  // the greatest of weight + 1 draws, or the least
    T best = T(next(n));
    for (int i = 0; i < std::abs(weight); i++) {
      T drawn = T(next(n));
      best = weight > 0 ? std::max(best, drawn) : std::min(best, drawn);
    }
    return best;
  }
  template <typename T> T wnext(T low, T high, int weight) {
    T best = T(next(low, high));
    for (int i = 0; i < std::abs(weight); i++) {
      T drawn = T(next(low, high));
      best = weight > 0 ? std::max(best, drawn) : std::min(best, drawn);
    }
    return best;
  }
  template <typename I> auto any(I begin, I end) { return wany(begin, end, 0); }
  template <typename C> auto any(const C &items) { return wany(items, 0); }
  template <typename I> typename std::iterator_traits<I>::value_type wany(I begin, I end, int weight) {
    auto size = (long long)std::distance(begin, end);
    std::advance(begin, wnext(size, weight));
    return *begin;
  }
  template <typename C> typename C::value_type wany(const C &items, int weight) { return wany(items.begin(), items.end(), weight); }
  // Parts of at least `least` whose sum is `sum`, each way to do so as likely as another.
  template <typename T> std::vector<T> partition(int size, T sum, T least = T(1)) {
    T spare = sum - T(size) * least;
    if (size < 1 || spare < 0) { std::fprintf(stderr, "FAIL rnd.partition: no such parts\n"); testlib_exit(3); }
    std::vector<long long> bars = size > 1 ? distinct(size - 1, 1LL, (long long)spare + size - 1) : std::vector<long long>();
    std::sort(bars.begin(), bars.end());
    bars.push_back((long long)spare + size);
    std::vector<T> parts;
    long long before = 0;
    for (long long bar : bars) { parts.push_back(T(bar - before - 1) + least); before = bar; }
    return parts;
  }
  template <typename T> std::vector<T> perm(T n, T first = T(0)) {
    std::vector<T> made(n);
    std::iota(made.begin(), made.end(), first);
    for (T i = 1; i < n; i++) std::swap(made[i], made[below(i + 1)]);
    return made;
  }
  template <typename T> std::vector<T> distinct(int count, T low, T high) {
    std::set<T> seen;
    std::vector<T> made;
    if (count < 0 || (count > 0 && std::uint64_t(high) - std::uint64_t(low) < std::uint64_t(count - 1))) below(0);
    for (T j = high - T(count) + 1; int(made.size()) < count; j++) {  // Floyd's sampling
      T drawn = next(low, j);
      if (!seen.insert(drawn).second) { seen.insert(j); drawn = j; }
      made.push_back(drawn);
    }
    for (int i = 1; i < count; i++) std::swap(made[i], made[below(i + 1)]);
    return made;
  }
  template <typename T> std::vector<T> distinct(int count, T n) { return distinct(count, T(0), T(n - 1)); }
};
inline random_t rnd;
template <typename I> void shuffle(I begin, I end) {
  for (auto i = begin; i != end; ++i) std::iter_swap(i, begin + rnd.below(i - begin + 1));
}

inline std::string pattern::next(random_t &rnd) const {
  std::size_t at = 0;
  return choice(rnd, at);
}
inline std::string pattern::choice(random_t &rnd, std::size_t &at) const {
  std::vector<std::string> made(1);
  while (at < text_.size() && text_[at] != ')') {
    if (text_[at] == '|') { made.emplace_back(); at++; continue; }
    std::size_t begin = at;
    auto one = [&]() -> std::string {  // an item once more, from `begin` on
      at = begin;
      if (text_[at] == '(') { at++; std::string inner = choice(rnd, at); at++; return inner; }
      if (text_[at] == '[') {
        std::string set;
        bool without = text_[++at] == '^';
        for (at += without; at < text_.size() && text_[at] != ']'; at++) {
          if (text_[at] == '\\') at++;
          char low = text_[at], high = low;
          if (at + 2 < text_.size() && text_[at + 1] == '-' && text_[at + 2] != ']') { high = text_[at + 2]; at += 2; }
          for (int c = low; c <= high; c++) set += char(c);
        }
        at++;
        std::string rest;
        for (int c = 33; without && c < 127; c++) if (set.find(char(c)) == std::string::npos) rest += char(c);
        return std::string(1, rnd.any(without ? rest : set));
      }
      if (text_[at] == '\\') at++;
      return std::string(1, text_[at++]);
    };
    std::string first = one();
    long low = 1, high = 1;
    std::size_t end = at;
    if (at < text_.size() && std::strchr("{?*+", text_[at])) {
      char mark = text_[at];
      if (mark == '{') {
        std::size_t close = text_.find('}', at);
        std::string inside = text_.substr(at + 1, close - at - 1);
        low = high = std::strtol(inside.c_str(), nullptr, 10);
        if (inside.find(',') != std::string::npos) high = std::strtol(inside.c_str() + inside.find(',') + 1, nullptr, 10);
        end = close + 1;
      } else {
        low = mark == '+';
        high = mark == '?' ? 1 : 16;
        end = at + 1;
      }
    }
    long count = rnd.next(low, high);
    for (long i = 0; i < count; i++) made.back() += i ? one() : first;
    at = end;
  }
  return rnd.any(made);
}

[[noreturn]] inline void quit(TResult result, const std::string &message);

// A stream that is read by rules: what breaks them ends the program with the verdict of whose stream it is.
struct InStream {
  TMode mode = _input;
  std::string name, text;
  std::size_t at = 0;
  bool strict = false, live = false;  // live: standard input of an interactor, read as it comes
  FILE *file = nullptr;

  InStream() = default;
  InStream(const InStream &like, const std::string &content) : mode(like.mode), name("content"), text(content), strict(like.strict) {}
  void reset() { at = 0; }
  void skipBom() { if (text.compare(at, 3, "\xEF\xBB\xBF") == 0) at += 3; }

  void open(const char *path, TMode mode_, bool strict_ = false) {
    mode = mode_, strict = strict_, name = path;
    std::ifstream in(path, std::ios::binary);
    if (!in) ::quit(_fail, std::string("cannot read ") + path);
    text.assign(std::istreambuf_iterator<char>(in), {});
    if (!strict) skipBom();
  }
  void openStandardInput(TMode mode_, bool strict_, bool live_) {
    mode = mode_, strict = strict_, live = live_, name = "stdin", file = stdin;
    if (!live) for (int c; (c = std::getc(file)) != EOF;) text += char(c);
  }
  int peek() {
    while (live && at >= text.size()) {
      int c = std::getc(file);
      if (c == EOF) return EOF;
      text += char(c);
    }
    return at < text.size() ? (unsigned char)text[at] : EOF;
  }
  int take() { int c = peek(); if (c != EOF) at++; return c; }

  [[noreturn]] void quit(TResult result, const std::string &message) {
    if (mode != _output && result != _ok && result != _points) ::quit(_fail, name + ": " + message);
    ::quit(result, message);
  }
  [[noreturn]] void quitf(TResult result, const char *text_, ...) { TESTLIB_FORMAT(made, text_); quit(result, made); }
  void quitif(bool condition, TResult result, const char *text_, ...) {
    if (condition) { TESTLIB_FORMAT(made, text_); quit(result, made); }
  }
  [[noreturn]] void unexpected(const std::string &what) {
    int c = peek();
    if (c == EOF) quit(_unexpected_eof, "Unexpected end of file - " + what + " expected");
    quit(_pe, "Expected " + what + ", but '" + std::string(1, char(c)) + "' found");
  }

  char curChar() { return char(peek()); }
  char nextChar() { return char(take()); }
  char readChar() { if (peek() == EOF) unexpected("a character"); return char(take()); }
  char readChar(char wanted) { if (peek() != (unsigned char)wanted) unexpected(format("'%c'", wanted)); return char(take()); }
  char readSpace() { return readChar(' '); }
  void unreadChar(char) { if (at) at--; }
  void skipChar() { take(); }
  void skipBlanks() { while (isBlanks(peek())) at++; }
  bool eof() { return peek() == EOF; }
  bool seekEof() { skipBlanks(); return peek() == EOF; }
  bool eoln() {  // and is behind it then; of who is strict, too, a line may end as Windows ends it
    if (peek() == EOF) return !strict;
    if (peek() == '\r' && (at++, peek() != '\n')) at--;
    if (peek() != '\n') return false;
    at++;
    return true;
  }
  bool seekEoln() { while (peek() == ' ' || peek() == '\t') at++; return eoln(); }
  void nextLine() { while (peek() != EOF && take() != '\n') {} }
  void readEoln() { if (!eoln()) unexpected("end of line"); }
  void readEof() { if (!strict) skipBlanks(); if (peek() != EOF) unexpected("end of file"); }

  std::string readToken() {
    if (!strict) skipBlanks();
    std::string word;
    while (peek() != EOF && !isBlanks(peek())) word += char(take());
    if (word.empty()) unexpected("token");
    return word;
  }
  std::string readWord() { return readToken(); }
  template <typename... Rules> void readTokenTo(std::string &to, const Rules &...rules) { to = readToken(rules...); }
  template <typename... Rules> void readWordTo(std::string &to, const Rules &...rules) { to = readToken(rules...); }
  template <typename... Rules> void readLineTo(std::string &to, const Rules &...rules) { to = readLine(rules...); }
  template <typename... Rules> void readStringTo(std::string &to, const Rules &...rules) { to = readLine(rules...); }
  std::string matching(const std::string &word, const pattern &wanted, const std::string &label) {
    if (!wanted.matches(word)) {
      quit(_wa, (label.empty() ? "" : "\"" + label + "\" ") + "\"" + compress(word) + "\" doesn't correspond to pattern \"" +
                    compress(wanted.src()) + "\"");
    }
    return word;
  }
  std::string readToken(const std::string &wanted, const std::string &label = "") { return matching(readToken(), wanted, label); }
  std::string readWord(const std::string &wanted, const std::string &label = "") { return readToken(wanted, label); }
  std::string readToken(const pattern &wanted, const std::string &label = "") { return matching(readToken(), wanted, label); }
  std::string readWord(const pattern &wanted, const std::string &label = "") { return matching(readToken(), wanted, label); }
  std::string readLine() {
    if (peek() == EOF) unexpected("line");
    std::string line;
    while (peek() != EOF && peek() != '\n') line += char(take());
    if (peek() == '\n') at++;
    else if (strict) unexpected("end of line");
    if (!line.empty() && line.back() == '\r') line.pop_back();
    return line;
  }
  std::string readString() { return readLine(); }
  std::string readLine(const std::string &wanted, const std::string &label = "") { return matching(readLine(), wanted, label); }
  std::string readLine(const pattern &wanted, const std::string &label = "") { return matching(readLine(), wanted, label); }
  std::string readString(const std::string &wanted, const std::string &label = "") { return readLine(wanted, label); }

  // Digits without a sign or zeros before them: of an integer that is written in one way alone.
  static bool plain(const std::string &digits) {
    return !digits.empty() && (digits[0] != '0' || digits.size() == 1) && digits.find_first_not_of("0123456789") == std::string::npos;
  }
  long long toLong(const std::string &word) {
    bool good = word != "-0" && plain(word[0] == '-' ? word.substr(1) : word);
    errno = 0;
    long long value = good ? std::strtoll(word.c_str(), nullptr, 10) : 0;
    if (!good || errno) quit(_pe, "Expected integer, but \"" + compress(word) + "\" found");
    return value;
  }
  unsigned long long toUnsignedLong(const std::string &word) {
    bool good = plain(word);
    errno = 0;
    unsigned long long value = good ? std::strtoull(word.c_str(), nullptr, 10) : 0;
    if (!good || errno) quit(_pe, "Expected unsigned integer, but \"" + compress(word) + "\" found");
    return value;
  }
  double toDouble(const std::string &word) {
    bool good = !word.empty() && word.find_first_not_of("0123456789+-.eE") == std::string::npos;
    char *end = nullptr;
    double value = std::strtod(word.c_str(), &end);
    if (!good || *end || !std::isfinite(value)) quit(_pe, "Expected double, but \"" + compress(word) + "\" found");
    return value;
  }
  long long readLong() { return toLong(readToken()); }
  unsigned long long readUnsignedLong() { return toUnsignedLong(readToken()); }
  unsigned long long readUnsignedLong(unsigned long long low, unsigned long long high, const std::string &label = "") {
    return inside(readUnsignedLong(), low, high, label);
  }
  template <typename T> T inside(T value, T low, T high, const std::string &label) {
    if (value < low || value > high) {
      quit(_wa, (label.empty() ? "" : "parameter \"" + label + "\" is ") + vtos(value) + " violates the range [" + vtos(low) + ", " +
                    vtos(high) + "]");
    }
    return value;
  }
  long long readLong(long long low, long long high, const std::string &label = "") { return inside(readLong(), low, high, label); }
  int readInt() {
    long long value = readLong();
    if (value < INT_MIN || value > INT_MAX) quit(_pe, "Expected int32, but \"" + vtos(value) + "\" found");
    return int(value);
  }
  int readInt(int low, int high, const std::string &label = "") { return inside(readInt(), low, high, label); }
  int readInteger() { return readInt(); }
  int readInteger(int low, int high, const std::string &label = "") { return readInt(low, high, label); }
  double readDouble() { return toDouble(readToken()); }
  double readReal() { return readDouble(); }
  double readDouble(double low, double high, const std::string &label = "") { return inside(readDouble(), low, high, label); }
  double readReal(double low, double high, const std::string &label = "") { return readDouble(low, high, label); }
  double readStrictDouble(double low, double high, int least, int most, const std::string &label = "") {
    std::size_t start = at;
    double value = readDouble();
    std::string word = trim(text.substr(start, at - start));
    std::size_t dot = word.find('.');
    int after = dot == std::string::npos ? 0 : int(word.size() - dot - 1);
    if (word.find_first_of("eE+") != std::string::npos || after < least || after > most) {
      quit(_pe, "Expected a strict double with " + vtos(least) + " to " + vtos(most) + " digits, but \"" + word + "\" found");
    }
    return inside(value, low, high, label);
  }
  double readStrictReal(double low, double high, int least, int most, const std::string &label = "") {
    return readStrictDouble(low, high, least, most, label);
  }
  template <typename R> auto several(int count, R read) {
    std::vector<decltype(read())> made;
    for (int i = 0; i < count; i++) {
      if (i && strict) readSpace();
      made.push_back(read());
    }
    return made;
  }
  // `label` and the number of the first, for what is said of a value that breaks the rules.
  static std::string nth(const std::string &label, int number) { return label.empty() ? "" : label + "[" + vtos(number) + "]"; }
  std::vector<int> readInts(int count, int low, int high, const std::string &label = "", int first = 1) {
    return several(count, [&] { return readInt(low, high, nth(label, first++)); });
  }
  std::vector<int> readInts(int count, int = 1) { return several(count, [&] { return readInt(); }); }
  std::vector<int> readIntegers(int count, int low, int high, const std::string &label = "", int first = 1) {
    return readInts(count, low, high, label, first);
  }
  std::vector<int> readIntegers(int count, int = 1) { return readInts(count); }
  std::vector<long long> readLongs(int count, long long low, long long high, const std::string &label = "", int first = 1) {
    return several(count, [&] { return readLong(low, high, nth(label, first++)); });
  }
  std::vector<long long> readLongs(int count, int = 1) { return several(count, [&] { return readLong(); }); }
  std::vector<unsigned long long> readUnsignedLongs(int count, unsigned long long low = 0, unsigned long long high = ULLONG_MAX,
                                                    const std::string &label = "", int first = 1) {
    return several(count, [&] { return readUnsignedLong(low, high, nth(label, first++)); });
  }
  std::vector<double> readDoubles(int count, int = 1) { return several(count, [&] { return readDouble(); }); }
  std::vector<double> readDoubles(int count, double low, double high, const std::string &label = "", int first = 1) {
    return several(count, [&] { return readDouble(low, high, nth(label, first++)); });
  }
  template <typename... Rules> std::vector<double> readReals(int count, const Rules &...rules) { return readDoubles(count, rules...); }
  std::vector<double> readStrictDoubles(int count, double low, double high, int least, int most, const std::string &label = "",
                                        int first = 1) {
    return several(count, [&] { return readStrictDouble(low, high, least, most, nth(label, first++)); });
  }
  template <typename... Rules> std::vector<double> readStrictReals(int count, const Rules &...rules) {
    return readStrictDoubles(count, rules...);
  }
  std::vector<std::string> readTokens(int count, int = 1) { return several(count, [&] { return readToken(); }); }
  std::vector<std::string> readTokens(int count, const pattern &wanted, const std::string &label = "", int first = 1) {
    return several(count, [&] { return readToken(wanted, nth(label, first++)); });
  }
  std::vector<std::string> readTokens(int count, const std::string &wanted, const std::string &label = "", int first = 1) {
    return readTokens(count, pattern(wanted), label, first);
  }
  template <typename... Rules> std::vector<std::string> readWords(int count, const Rules &...rules) { return readTokens(count, rules...); }
  std::vector<std::string> readLines(int count, int = 1) {
    std::vector<std::string> made;
    for (int i = 0; i < count; i++) made.push_back(readLine());
    return made;
  }
  std::vector<std::string> readLines(int count, const pattern &wanted, const std::string &label = "", int first = 1) {
    std::vector<std::string> made;
    for (int i = 0; i < count; i++) made.push_back(matching(readLine(), wanted, nth(label, first++)));
    return made;
  }
  std::vector<std::string> readLines(int count, const std::string &wanted, const std::string &label = "", int first = 1) {
    return readLines(count, pattern(wanted), label, first);
  }
  template <typename... Rules> std::vector<std::string> readStrings(int count, const Rules &...rules) { return readLines(count, rules...); }
};

inline InStream inf, ouf, ans;
inline long long stringToLongLong(InStream &in, const std::string &text) { return in.toLong(text); }
inline unsigned long long stringToUnsignedLongLong(InStream &in, const std::string &text) { return in.toUnsignedLong(text); }
inline double stringToDouble(InStream &in, const std::string &text) { return in.toDouble(text); }
inline std::fstream tout;

struct Validator {
  std::string testset_, group_;
  std::string testset() const { return testset_; }
  std::string group() const { return group_; }
  void addFeature(const std::string &) {}  // what a test covers is told by Polygon alone
  void feature(const std::string &) {}
};
inline Validator validator, checker;
inline void addFeature(const std::string &name) { validator.addFeature(name); }
inline void feature(const std::string &name) { validator.feature(name); }
inline void setName(const char *, ...) {}
inline void disableFinalizeGuard() {}

[[noreturn]] inline void quit(TResult result, const std::string &message) {
  using testlib_detail::program;
  if (result == _ok && program == _checker && !ouf.seekEof()) quit(_dirt, "Extra information in the output file");
  if (result == _ok && program == _validator) {}  // a validator says nothing
  const char *names[] = {"ok", "wrong answer", "wrong output format", "FAIL", "wrong output format", "points"};
  std::string name = result == _unexpected_eof ? "unexpected eof" : result >= _partially ? "partially correct" : names[result];
  std::string where = testlib_detail::test_case >= 0 ? format("test case %d: ", testlib_detail::test_case) : "";
  std::fprintf(stderr, "%s %s%s\n", name.c_str(), where.c_str(), message.c_str());
  std::fflush(stderr);
  if (tout.is_open()) tout.flush();
  std::cout.flush();
  if (program == _validator && result != _ok) testlib_exit(3);
  testlib_exit(result == _points ? 7 : result >= _partially ? 50 + (result - _partially) : int(result));
}
[[noreturn]] inline void quit(TResult result, const char *message) { quit(result, std::string(message)); }
[[noreturn]] inline void quitf(TResult result, const char *text, ...) { TESTLIB_FORMAT(made, text); quit(result, made); }
inline void quitif(bool condition, TResult result, const char *text, ...) {
  if (condition) { TESTLIB_FORMAT(made, text); quit(result, made); }
}
[[noreturn]] inline void quitp(double points, const std::string &message = "") { quit(_points, vtos(points) + " " + message); }
[[noreturn]] inline void quitp(double points, const char *text, ...) {
  TESTLIB_FORMAT(made, text);
  quit(_points, vtos(points) + " " + made);
}
[[noreturn]] inline void quitpi(const std::string &info, const std::string &message = "") {
  quit(_points, "points_info=" + info + " " + message);
}
template <typename T> [[noreturn]] void expectedButFound(TResult result, T expected, T found, const char *text = "", ...) {
  TESTLIB_FORMAT(made, text);
  quit(result, (made.empty() ? "" : made + ": ") + "expected '" + vtos(expected) + "', found '" + vtos(found) + "'");
}
inline TResult _pc(int points) { return TResult(_partially + points); }
inline void setTestCase(int number) { testlib_detail::test_case = number; }
inline void unsetTestCase() { testlib_detail::test_case = -1; }

inline void __testlib_ensure(bool condition, const std::string &message) { if (!condition) quit(_fail, message); }
#define ensure(condition) __testlib_ensure((condition), "Condition failed: \"" #condition "\"")
inline void ensuref(bool condition, const char *text, ...) {
  if (!condition) { TESTLIB_FORMAT(made, text); quit(_fail, made); }
}

inline void readNames(Validator &of, int argc, char *argv[]) {
  for (int i = 1; i + 1 < argc; i++) {
    if (!std::strcmp(argv[i], "--testset")) of.testset_ = argv[i + 1];
    if (!std::strcmp(argv[i], "--group")) of.group_ = argv[i + 1];
  }
}
inline void registerTestlibCmd(int argc, char *argv[]) {
  testlib_detail::program = _checker;
  readNames(checker, argc, argv);
  if (argc < 4) quit(_fail, "a checker is called as: checker input output answer");
  inf.open(argv[1], _input);
  ouf.open(argv[2], _output);
  ans.open(argv[3], _answer);
}
inline void registerInteraction(int argc, char *argv[]) {
  testlib_detail::program = _interactor;
  if (argc < 3) quit(_fail, "an interactor is called as: interactor input output [answer]");
  inf.open(argv[1], _input);
  tout.open(argv[2], std::ios::out);
  if (!tout) quit(_fail, std::string("cannot write ") + argv[2]);
  if (argc > 3) ans.open(argv[3], _answer);
  ouf.openStandardInput(_output, false, true);
}
inline void registerValidation() {
  testlib_detail::program = _validator;
  inf.openStandardInput(_input, true, false);
}
inline void registerValidation(int argc, char *argv[]) {
  readNames(validator, argc, argv);
  registerValidation();
}
inline void prepareOpts(int argc, char *argv[]) {
  testlib_detail::arguments.assign(argv, argv + argc);
  testlib_detail::options.clear();
  testlib_detail::asked_options.clear();
  for (int i = 1; i < argc; i++) {
    std::string word = argv[i];
    if (word.size() < 2 || word[0] != '-' || std::isdigit((unsigned char)word[1])) continue;
    word = word.substr(word[1] == '-' ? 2 : 1);
    std::size_t equals = word.find('=');
    if (equals != std::string::npos) testlib_detail::options[word.substr(0, equals)] = word.substr(equals + 1);
    else if (i + 1 < argc && (argv[i + 1][0] != '-' || std::isdigit((unsigned char)argv[i + 1][1]))) {
      testlib_detail::options[word] = argv[i + 1];
    } else testlib_detail::options[word] = "true";
  }
}
inline void registerGen(int argc, char *argv[], int) {
  testlib_detail::program = _generator;
  rnd.setSeed(argc, argv);
  prepareOpts(argc, argv);
}
[[noreturn]] inline void badOption(const std::string &text) { quit(_fail, "option \"" + text + "\" is of another type"); }
template <typename T> T optionFrom(const std::string &text) {
  if constexpr (std::is_same_v<T, std::string>) {
    return text;
  } else if constexpr (std::is_same_v<T, bool>) {
    if (text != "true" && text != "1" && text != "false" && text != "0") badOption(text);
    return text == "true" || text == "1";
  } else if constexpr (std::is_integral_v<T> && sizeof(T) > 1) {  // 3e6 and 1e5 are integers too
    bool negative = text[0] == '-';
    if (negative && std::is_unsigned_v<T>) badOption(text);
    std::size_t e = text.find_first_of("eE");
    std::string digits = text.substr(negative, e == std::string::npos ? e : e - negative);
    if (e != std::string::npos) digits += std::string(InStream::plain(text.substr(e + 1)) ? std::atoi(text.c_str() + e + 1) : 99, '0');
    if (!InStream::plain(digits)) badOption(text);
    errno = 0;
    unsigned long long value = std::strtoull(digits.c_str(), nullptr, 10);
    if (errno || value > (unsigned long long)std::numeric_limits<T>::max() + negative) badOption(text);
    return negative ? T(0 - value) : T(value);
  } else {
    std::istringstream in(text);
    T value{};
    if (!(in >> value) || in.peek() != EOF) badOption(text);
    return value;
  }
}
template <typename T = std::string> T opt(std::size_t index) {
  if (index >= testlib_detail::arguments.size()) quit(_fail, "no option number " + vtos(index));
  return optionFrom<T>(testlib_detail::arguments[index]);
}
template <typename T = std::string> T opt(int index) { return opt<T>(std::size_t(index)); }
inline bool has_opt(const std::string &key) {
  testlib_detail::asked_options.insert(key);
  return testlib_detail::options.count(key) > 0;
}
inline void suppressEnsureNoUnusedOpts() {}  // nothing is looked at unless it is asked for
inline void ensureNoUnusedOpts() {
  for (auto &[key, value] : testlib_detail::options) {
    if (!testlib_detail::asked_options.count(key)) quit(_fail, "unused option \"" + key + "\"");
  }
}
template <typename T = std::string> T opt(const std::string &key) {
  if (!has_opt(key)) quit(_fail, "no option \"" + key + "\"");
  return optionFrom<T>(testlib_detail::options[key]);
}
template <typename T = std::string> T opt(const std::string &key, const T &otherwise) { return has_opt(key) ? opt<T>(key) : otherwise; }

inline void startTest(int number) {  // a generator of several tests writes each to a file of its number
  if (!std::freopen(vtos(number).c_str(), "wt", stdout)) quit(_fail, "cannot write test " + vtos(number));
}
template <typename T> void println(const T &value) { std::cout << value << '\n'; }
template <typename T, typename... More> void println(const T &value, const More &...more) {
  std::cout << value << ' ';
  println(more...);
}
template <typename T> void println(const std::vector<T> &items) { std::cout << join(items) << '\n'; }
