// ---- tabs: views of which one is seen

class Tabs {
  // list: [name, title] of sections with that id; isOffered(name); changed(name, before).
  constructor(list, isOffered, changed) {
    Object.assign(this, { list, isOffered, changed, chosen: list[0][0] });
  }

  build() {
    for (const [name, title] of this.list) {
      const tab = h('button', { type: 'button', role: 'tab', id: `tab-${name}`, 'aria-controls': name, on: { click: () => this.choose(name) } }, title);
      tab.addEventListener('keydown', (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (step) this.step(step);
      });
      $('tabs').append(tab);
    }
    this.mark();
  }

  offered() {
    return this.list.map(([name]) => name).filter((name) => this.isOffered(name));
  }

  step(by) {
    const names = this.offered();
    this.choose(names[(names.indexOf(this.chosen) + by + names.length) % names.length]);
    $(`tab-${this.chosen}`).focus();
  }

  mark() {
    for (const [name] of this.list) {
      const tab = $(`tab-${name}`);
      tab.hidden = !this.isOffered(name);
      setAttribute(tab, 'aria-selected', name === this.chosen);
      tab.tabIndex = name === this.chosen ? 0 : -1;
      $(name).hidden = name !== this.chosen;
    }
  }

  choose(name) {
    if (!this.offered().includes(name)) return;
    const before = this.chosen;
    this.chosen = name;
    this.mark();
    this.changed(name, before);
  }
}
