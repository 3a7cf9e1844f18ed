// What a rollback would change, line by line.

const MOST = 2_000; // lines of either text; more are not compared

/** [sign, line] of each line: "-" is in `from` alone, "+" in `to` alone, " " in both. Null where the texts are too long. */
export function diff(from, to) {
  const [a, b] = [from, to].map((text) => text.replace(/\n$/, "").split("\n"));
  if (a.length > MOST || b.length > MOST) return null;
  // The length of the longest common subsequence of the lines from each pair of places on.
  const common = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      common[i][j] = a[i] === b[j] ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1]);
    }
  }
  const lines = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      lines.push([" ", a[i]]);
      i += 1;
      j += 1;
    } else if (i < a.length && (j === b.length || common[i + 1][j] >= common[i][j + 1])) {
      lines.push(["-", a[i]]);
      i += 1;
    } else {
      lines.push(["+", b[j]]);
      j += 1;
    }
  }
  return lines;
}
