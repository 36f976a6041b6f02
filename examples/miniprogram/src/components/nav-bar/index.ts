/** The bar at the top, beside WeChat's capsule, which it keeps clear of. */

interface Bar {
  top: number
  height: number
  /** What the capsule takes of the right side. */
  aside: number
}

// Where the host does not tell: as on most phones.
const USUAL: Bar = { top: 44, height: 44, aside: 95 }

function measure(): Bar {
  if (!wx.canIUse('getMenuButtonBoundingClientRect')) return USUAL
  const { top, height, left } = wx.getMenuButtonBoundingClientRect()
  const { statusBarHeight, windowWidth } = wx.getWindowInfo()
  if (!height) return { ...USUAL, top: statusBarHeight }
  return { top: statusBarHeight, height: height + 2 * (top - statusBarHeight), aside: windowWidth - left }
}

Component({
  options: { multipleSlots: true },
  properties: {
    title: { type: String, value: '' },
    /** Whether there is a way back. */
    back: { type: Boolean, value: false },
  },
  data: USUAL,
  lifetimes: {
    attached() {
      this.setData(measure())
    },
  },
  methods: {
    goBack() {
      if (getCurrentPages().length > 1) wx.navigateBack()
      else wx.reLaunch({ url: '/pages/chat/index' })
    },
  },
})
