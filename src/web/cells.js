// ---- cells: how it stands, in a few numbers, each with a line that says more

function makeCells(root, titles) {
  const cells = {};
  const list = h('dl');
  for (const [name, title] of titles) {
    const cell = { value: h('dd', { class: 'value' }), more: h('dd', { class: 'more' }), title: h('dt', {}, title) };
    cell.node = h('div', { id: `cell-${name}` }, cell.title, cell.value, cell.more);
    cells[name] = cell;
    list.append(cell.node);
  }
  root.append(list);
  return cells;
}

function setCell(cells, name, value, more, tone = '') {
  const cell = cells[name];
  setText(cell.value, value);
  setText(cell.more, more);
  setAttribute(cell.node, 'data-tone', tone || null);
}
