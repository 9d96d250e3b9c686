// Everything that the page shows lies in it, compressed: tables, charts, figures and the libraries.
const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const unpacked = (text) => new Response(new Blob([bytes(text)]).stream().pipeThrough(new DecompressionStream("gzip")));
const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
const held = (kind, name) => document.querySelector(`script[data-${kind}="${CSS.escape(name)}"]`).textContent;
const library = async (name) => URL.createObjectURL(new Blob([await unpacked(held("library", name)).text()], { type: "text/javascript" }));
const escaped = (text) => String(text).replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

// Numbers.
const percent = (value) => ((Math.sign(value) * Math.round(Math.abs(1000 * value).toFixed(4))) / 10 + 0).toFixed(1);
const number = (value) => (Number.isInteger(value) ? value.toLocaleString("en") : Math.abs(value) >= 100 ? value.toLocaleString("en", { maximumFractionDigits: 0 }) : String(Number(value.toPrecision(4))));
const verdicts = { best: "best", level: "within", "not compared": "within", "within the noise": "within", worse: "worse", "likely worse": "likely", constant: "constant", failed: "failed" };
const forms = {
  text: (value) => (value in verdicts ? `<span class="verdict-${verdicts[value]}">${value}</span>` : escaped(value ?? "")),
  mark: (value) => escaped(value ?? ""),
  long: (value) => (value ? `<div title="${escaped(value)}">${escaped(value)}</div>` : ""),
  number: (value) => (value === null ? "–" : number(value)),
  percent: (value) => (value === null ? "–" : percent(value)),
  interval: (value) => (value === null ? "–" : typeof value === "string" ? `<span title="${escaped(value)}"${value.startsWith("failed") ? ' class="lost">failed' : ">–"}</span>` : percent(value[0]) + (value[1] === null ? "" : `<small>${percent(value[1])} to ${percent(value[2])}</small>`) + (value[3] ? `<small class="note">${escaped(value[3])}</small>` : "")),
};
const numeric = (form) => ["number", "percent", "interval"].includes(form);
const plain = (value, form) => (Array.isArray(value) ? value[0] : numeric(form) && typeof value === "string" ? null : value);

function column(head, index) {
  return {
    data: index,
    title: head.says ? `<span title="${escaped(head.says)}">${escaped(head.title)}</span>` : escaped(head.title),
    visible: head.shown,
    name: head.title,
    type: numeric(head.form) ? "num" : "string",
    className: numeric(head.form) ? "dt-right" : `dt-left ${head.form}`,
    render: (value, kind) => (kind === "display" ? forms[head.form](value) : kind === "sort" || kind === "type" ? (plain(value, head.form) ?? (numeric(head.form) ? -Infinity : "")) : plain(value, head.form) ?? ""),
  };
}

function menu(table, head, index, rows) {
  const label = document.createElement("label"), select = document.createElement("select");
  const values = [...new Set(rows.map((row) => row[index]))].filter((value) => value !== null && value !== "");
  values.sort((a, b) => (typeof a === "number" ? a - b : String(a).localeCompare(String(b))));
  select.append(new Option("all", ""), ...values.map((value) => new Option(value, value)));
  select.addEventListener("change", () => table.column(index).search((data) => select.value === "" || String(data) === select.value).draw());
  label.append(head.title, select);
  return label;
}

async function grid(place, DataTable) {
  const { columns, rows, order } = await unpacked(place.dataset.grid).json();
  const few = rows.length <= 15;
  const table = new DataTable(place.querySelector("table"), {
    columns: columns.map(column),
    data: rows,
    order: order.length ? [order] : [],
    deferRender: true,
    autoWidth: false,
    pageLength: few ? -1 : 15,
    lengthMenu: [[15, 50, 200, -1], [15, 50, 200, "all"]],
    layout: {
      topStart: few ? null : { buttons: [{ extend: "colvis", text: "Columns", background: false, columnText: (own, index) => escaped(columns[index].title || "marks") }, { extend: "csv", text: "CSV of these rows", filename: place.dataset.name }] },
      topEnd: few ? null : "search",
      bottomStart: few ? null : ["pageLength", "info"],
      bottomEnd: few ? null : "paging",
    },
    language: { lengthMenu: "_MENU_ rows" },
  });
  const said = columns.filter((head) => head.says && head.shown && head.title).map((head) => `<b>${escaped(head.title)}</b>: ${escaped(head.says)}`);
  if (said.length) place.insertAdjacentHTML("beforeend", `<p class="says">${said.join(". ")}.</p>`);
  if (!few) place.querySelector(".menus").append(...columns.flatMap((head, index) => (head.menu ? [menu(table, head, index, rows)] : [])));
  place.addEventListener("click", (event) => event.target.closest("td.long div")?.classList.toggle("open"));
  addEventListener("beforeprint", () => table.page.len(rows.length <= 400 ? -1 : 100).draw());
  addEventListener("afterprint", () => table.page.len(few ? -1 : 15).draw());
}

async function figure(image) {
  const blob = new Blob([await unpacked(image.dataset.svg).arrayBuffer()], { type: "image/svg+xml" });
  image.src = URL.createObjectURL(blob);
  await image.decode();
  image.blob = blob;
  image.closest("figure").classList.toggle("wide", image.naturalWidth > 1.5 * image.naturalHeight);
}

async function png(image) {
  const scale = 3, canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth * scale, image.naturalHeight * scale];
  const pen = canvas.getContext("2d");
  pen.fillStyle = "white";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

async function chart(place) {
  const spec = await unpacked(held("spec", place.dataset.chart)).json();
  const bind = document.createElement("div");
  bind.className = "binds";
  place.before(bind);
  await vegaEmbed(place, spec, { bind, renderer: "svg", actions: { export: true, source: false, compiled: false, editor: false }, downloadFileName: place.dataset.chart });
}

const folded = () => all(".doubts details, #about details, #answer details, #provenance details").filter((one) => !one.open);
let unfolded = [];
addEventListener("beforeprint", () => (unfolded = folded()).forEach((one) => (one.open = true)));
addEventListener("afterprint", () => unfolded.forEach((one) => (one.open = false)));
document.addEventListener("click", async (event) => {
  if (event.target.closest("[data-unfold]")) document.querySelector("#about details").open = true;
  const button = event.target.closest("button");
  if (!button) return;
  const { name, table, packed, type } = button.dataset;
  const text = () => button.closest("details").querySelector("pre").textContent;
  if (button.closest("summary")) event.preventDefault();
  if (table) save(await unpacked(held("file", table)).blob(), name);
  else if (packed) save(new Blob([await unpacked(packed).arrayBuffer()], { type }), name);
  else if ("copy" in button.dataset) { await navigator.clipboard.writeText(text()); button.textContent = "Copied"; }
  else if ("text" in button.dataset) save(new Blob([text()]), name);
  else if (button.dataset.save) {
    const image = button.closest("figure").querySelector("img");
    save(button.dataset.save === "svg" ? image.blob : await png(image), name);
  }
});

const style = document.createElement("style");
style.textContent = await unpacked(held("library", "datatables.css")).text();
document.head.prepend(style);
const drawn = all("img[data-svg]").map(figure);
await import(await library("vega.js"));
const charted = all("[data-chart]").map(chart);
const { default: DataTable } = await import(await library("datatables.js"));
const laid = all("[data-grid]").map((place) => grid(place, DataTable));
await Promise.allSettled([...drawn, ...charted, ...laid]).then((ends) => ends.filter((end) => end.reason).forEach((end) => console.error(end.reason)));
document.body.dataset.ready = "yes";
